//! The corpora of the fuzz targets: each crate replays its own; here is what they all have in common.

use std::collections::BTreeSet;
use std::fs;

use cargo_metadata::MetadataCommand;

/// Most files of a corpus, and most bytes of a file.
const MAX_FILES: usize = 40;
const MAX_BYTES: u64 = 4 << 10;

#[test]
fn every_target_has_a_corpus_that_is_small() -> anyhow::Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/");
    let metadata = MetadataCommand::new().manifest_path(format!("{folder}Cargo.toml")).no_deps().exec()?;
    let targets: BTreeSet<String> = metadata
        .packages
        .iter()
        .flat_map(|package| &package.targets)
        .map(|target| target.name.clone())
        .collect();
    let mut corpora = BTreeSet::new();
    for corpus in fs::read_dir(format!("{folder}corpus"))? {
        let corpus = corpus?;
        let name = corpus.file_name().to_string_lossy().into_owned();
        let sizes: Vec<u64> = fs::read_dir(corpus.path())?
            .map(|file| Ok(file?.metadata()?.len()))
            .collect::<anyhow::Result<_>>()?;
        assert!((1..MAX_FILES).contains(&sizes.len()), "{name}: {} files", sizes.len());
        assert!(sizes.iter().all(|size| *size < MAX_BYTES), "{name}: {sizes:?}");
        corpora.insert(name);
    }
    assert_eq!(corpora, targets);
    Ok(())
}
