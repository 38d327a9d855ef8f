use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::buffer::events::size;
use crate::buffer::store::{Durability, Store};

#[tokio::test]
async fn the_oldest_go_first_and_are_counted() -> TestResult {
    let world = World::new()?;
    let buffer = world.open(7, Bounds { events: 5, bytes: 1 << 20 })?;
    buffer.append((0..4).map(event).collect()).await?;
    buffer.append((4..8).map(event).collect()).await?;
    let rows = buffer.read(0, ALL).await;
    assert_eq!(texts(&rows), ["{\"n\":3}", "{\"n\":4}", "{\"n\":5}", "{\"n\":6}", "{\"n\":7}"]);
    let loss = buffer.status().borrow().loss;
    assert_eq!((loss.capacity_evicted, loss.events, loss.content_rejected), (3, 3, 0));
    // What was counted is not forgotten, and not told twice.
    buffer.reported(loss).await;
    buffer.settle(0, 100).await;
    buffer.close().await;
    assert_eq!(names(&world.home()), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_can_never_fit_empties_nothing() -> TestResult {
    let world = World::new()?;
    let buffer = world.open(7, Bounds { events: 100, bytes: 30 })?;
    buffer.append(vec![event(1)]).await?;
    let large = NewEvent { text: CanonicalText::kept("x".repeat(31)) };
    let refused = buffer.append(vec![event(2), large]).await.map_err(|refused| refused.code);
    assert_eq!(refused, Err("too-large".to_owned()));
    assert_eq!(texts(&buffer.read(0, ALL).await), ["{\"n\":1}"]);
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Settle(i64, i64),
    Reject(i64),
    Fail(Vec<usize>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = || prop::collection::vec(1_usize..60, 0..6);
    prop_oneof![
        4 => sizes().prop_map(Step::Append),
        2 => (0_i64..40, 0_i64..6).prop_map(|(first, more)| Step::Settle(first, first + more)),
        1 => (0_i64..40).prop_map(Step::Reject),
        1 => sizes().prop_map(Step::Fail),
        1 => Just(Step::Reopen),
    ]
}

/// What a buffer should hold.
#[derive(Default)]
struct Model {
    rows: VecDeque<(i64, usize)>,
    last_id: i64,
    evicted: u64,
    rejected: u64,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.rows.iter().map(|(_, bytes)| *bytes as u64).sum()
    }

    fn remove(&mut self, first: i64, last: i64) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|(id, _)| !(first..=last).contains(id));
        (before - self.rows.len()) as u64
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn counters_are_what_they_count(steps in prop::collection::vec(step(), 1..24)) {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("b.sqlite");
        let bounds = Bounds { events: 10, bytes: 200 };
        let reopen = || Store::open(&path).map_err(|unusable| TestCaseError::fail(format!("{unusable:?}")));
        let (mut store, mut model) = (reopen()?, Model::default());
        let sql = |error: rusqlite::Error| TestCaseError::fail(error.to_string());
        for step in steps {
            match step {
                Step::Append(sizes) => {
                    store.write(Durability::Normal, |store| {
                        sizes.iter().try_for_each(|bytes| store.insert(1, &"x".repeat(*bytes)))?;
                        store.evict(bounds)
                    }).map_err(sql)?;
                    for bytes in sizes {
                        model.last_id += 1;
                        model.rows.push_back((model.last_id, bytes));
                    }
                    while model.rows.len() as u64 > bounds.events || model.bytes() > bounds.bytes {
                        model.rows.pop_front();
                        model.evicted += 1;
                    }
                }
                Step::Settle(first, last) => {
                    store.write(Durability::Normal, |store| store.settle(first, last, 1)).map_err(sql)?;
                    model.remove(first, last);
                }
                Step::Reject(id) => {
                    store.write(Durability::Normal, |store| store.reject(id)).map_err(sql)?;
                    model.rejected += model.remove(id, id);
                }
                Step::Fail(sizes) => {
                    let failed = store.write(Durability::Normal, |store| {
                        sizes.iter().try_for_each(|bytes| store.insert(1, &"x".repeat(*bytes)))?;
                        store.evict(bounds)?;
                        store.connection.execute_batch("no such statement")
                    });
                    prop_assert!(failed.is_err());
                }
                Step::Reopen => {
                    store.abandon();
                    store = reopen()?;
                }
            }
            let rows = store.read(0, ALL, |_| false).map_err(sql)?;
            let found: VecDeque<(i64, usize)> = rows.iter().map(|row| (row.id, row.text.as_str().len())).collect();
            prop_assert_eq!(&found, &model.rows);
            let counters = store.counters;
            prop_assert_eq!(counters.events, model.rows.len() as u64);
            prop_assert_eq!(counters.bytes, model.bytes());
            prop_assert_eq!(counters.last_id, model.last_id);
            prop_assert_eq!(counters.loss.capacity_evicted, model.evicted);
            prop_assert_eq!(counters.loss.content_rejected, model.rejected);
            prop_assert_eq!(counters.loss.events, model.evicted + model.rejected);
            prop_assert!(counters.bytes <= bounds.bytes && size("") == 0);
        }
    }
}
