//! What holds for any bytes that a brain, a proxy, an operator or an application may write: the properties
//! behind the fuzz targets `answer`, `settings` and `ingest`, and their replay.
//!
//! Owns nothing that the product uses: it is built for tests and fuzzing only.

mod answer;
mod settings;

pub use crate::ingest::fuzz::ingest;
pub use answer::answer;
pub use settings::settings;

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn replay(target: &str, holds: impl Fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        for file in std::fs::read_dir(folder).unwrap() {
            holds(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn the_corpora_hold() {
        replay("answer", super::answer);
        replay("settings", super::settings);
        replay("ingest", super::ingest);
    }
}
