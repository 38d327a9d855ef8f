//! `z4j` as a user runs it: the binary, against small servers inside the test.
//!
//! Every test has a world of its own: home, temporary directory, environment. Nothing binds a fixed port and
//! nothing sleeps.

#[cfg(test)]
mod brain;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_ingest;
#[cfg(test)]
mod hostile_longpoll;
#[cfg(test)]
mod hostile_websocket;
#[cfg(test)]
mod longpoll;
#[cfg(test)]
mod pki;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod running;
#[cfg(test)]
mod session;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod world;
