//! The crate from outside: a brain in this process, and the program as a child process.
//!
//! Nothing here sleeps to synchronise or uses a fixed port; whatever waits has a deadline (`support::within`).

#[cfg(test)]
mod acks;
#[cfg(test)]
mod admission;
#[cfg(test)]
mod agents;
#[cfg(test)]
mod breaking;
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod control;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod dedupe;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_frames;
#[cfg(test)]
mod hostile_http;
#[cfg(test)]
mod hostile_json;
#[cfg(test)]
mod hostile_slow;
#[cfg(test)]
mod hostile_sockets;
#[cfg(test)]
mod http;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod load;
#[cfg(test)]
mod longpoll;
#[cfg(test)]
mod oddities;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod pace;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod rest_values;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod state;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod verbs;
#[cfg(test)]
mod violations;
#[cfg(test)]
mod visit;
#[cfg(test)]
mod wait;
