//! What was told to be durable, held against what the brain accepted.

use std::collections::{BTreeMap, HashMap};

use anyhow::ensure;

use super::emitter::Told;

/// An accepted event, in the order of arrival.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) task: String,
    pub(super) number: usize,
    /// How often it came again.
    pub(super) duplicates: u64,
}

/// Nothing lost, nothing accepted twice, and the order kept where nothing was sent again.
pub(super) fn judge(told: &[Told], accepted: &[Accepted]) -> anyhow::Result<()> {
    let mut arrival: HashMap<(&str, usize), (usize, u64)> = HashMap::new();
    for (place, event) in accepted.iter().enumerate() {
        let before = arrival.insert((&event.task, event.number), (place, event.duplicates));
        ensure!(before.is_none(), "{} {} was accepted twice", event.task, event.number);
    }
    let lost: Vec<_> =
        told.iter().filter(|told| !arrival.contains_key(&(told.task.as_str(), told.number))).collect();
    ensure!(lost.is_empty(), "{} events are lost: {:?}", lost.len(), &lost[..lost.len().min(5)]);

    let mut last: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    for told in told.iter().filter(|told| !told.again) {
        let (place, duplicates) = arrival[&(told.task.as_str(), told.number)];
        if duplicates > 0 {
            continue;
        }
        let before = last.insert((&told.task, told.agent), place);
        ensure!(before.is_none_or(|before| before < place), "{told:?} overtook an earlier event of its task");
    }
    Ok(())
}

pub(super) fn summary(told: &[Told], accepted: &[Accepted]) -> String {
    let again = told.iter().filter(|told| told.again).count();
    let duplicates: u64 = accepted.iter().map(|event| event.duplicates).sum();
    format!(
        "{} durable ({again} emitted again), 0 lost; {} accepted in all rounds, {duplicates} came again",
        told.len(),
        accepted.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(numbers: &[usize]) -> Vec<Told> {
        let one = |number: &usize| Told { task: "t".to_owned(), number: *number, agent: 1, again: false };
        numbers.iter().map(one).collect()
    }

    fn accepted(numbers: &[usize]) -> Vec<Accepted> {
        let one = |number: &usize| Accepted { task: "t".to_owned(), number: *number, duplicates: 0 };
        numbers.iter().map(one).collect()
    }

    #[test]
    fn loss_doubles_and_disorder_are_seen() {
        assert!(judge(&told(&[0, 1, 2]), &accepted(&[0, 1, 2])).is_ok());
        assert!(judge(&told(&[0, 1, 2]), &accepted(&[0, 2])).is_err());
        assert!(judge(&told(&[0, 1]), &accepted(&[0, 1, 1])).is_err());
        assert!(judge(&told(&[0, 1, 2]), &accepted(&[0, 2, 1])).is_err());
    }
}
