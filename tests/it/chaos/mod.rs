//! Nothing lost, nothing twice: rounds of events while agent and brain are killed, connections are cut at
//! every step of the protocol, and the disk runs full.
//!
//! Every choice comes from a seed, which is printed; `just chaos` runs the long version.

mod brain;
mod emitter;
mod plan;
mod verdict;
mod world;

use anyhow::Context;

use plan::{Plan, Random};
use world::World;

/// Rounds of the version that every test run has.
const SHORT: u64 = 6;
/// Rounds of `just chaos`, where nothing else is asked for.
const LONG: u64 = 200;
/// The seed of both, where nothing else is asked for.
const SEED: u64 = 20_261_124;

#[test]
fn a_few_rounds_lose_nothing() -> anyhow::Result<()> {
    rounds(SEED, SHORT)
}

#[test]
#[ignore = "takes minutes: run `just chaos`"]
fn many_rounds_lose_nothing() -> anyhow::Result<()> {
    rounds(number("Z4J_CHAOS_SEED")?.unwrap_or(SEED), number("Z4J_CHAOS_ROUNDS")?.unwrap_or(LONG))
}

#[expect(clippy::disallowed_methods, reason = "tests have no other way to be told")]
fn number(name: &str) -> anyhow::Result<Option<u64>> {
    let Some(text) = std::env::var_os(name) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.map(Some).with_context(|| format!("{name} is no number"))
}

/// One brain and one home for all rounds: what a round leaves behind, the next one meets.
fn rounds(seed: u64, rounds: u64) -> anyhow::Result<()> {
    let mut world = World::new()?;
    let mut random = Random::new(seed);
    for round in 0..rounds {
        let plan = Plan::draw(round, &mut random);
        println!("round {round} of {rounds} (seed {seed}): {plan}");
        let told = world.play(&plan).with_context(|| world.keep(round, seed, &plan))?;
        let accepted = world.accepted()?;
        verdict::judge(&told, &accepted).with_context(|| world.keep(round, seed, &plan))?;
        println!("  {}", verdict::summary(&told, &accepted));
    }
    Ok(())
}
