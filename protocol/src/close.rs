//! WebSocket close codes of the z4j gateway (protocol.md, Session) and those of RFC 6455 that it uses.
//!
//! Numbers and their meaning only; what an agent does about one is the agent's.

/// RFC 6455: the purpose is fulfilled.
pub const NORMAL: u16 = 1000;
/// RFC 6455: the message is too big (over 16 MiB here).
pub const TOO_BIG: u16 = 1009;
/// RFC 6455: internal error; from a brain, a malformed frame after hello.
pub const INTERNAL: u16 = 1011;
/// The brain restarts.
pub const RESTART: u16 = 1012;
/// Another connection took the same worker slot.
pub const REPLACED: u16 = 4002;
/// The agent was revoked, or its project archived, while connected.
pub const REVOKED: u16 = 4003;
/// The first frame is no acceptable hello, or a message is over the frame limit.
pub const BAD_FIRST_FRAME: u16 = 4400;
/// The bearer token is missing, unknown or revoked.
pub const TOKEN: u16 = 4401;
/// The address is refused (before hello), or a signature or replay check failed (after it).
pub const FORBIDDEN: u16 = 4403;
/// No frame for 90 seconds.
pub const IDLE: u16 = 4408;
/// The protocol version is not spoken here.
pub const PROTOCOL: u16 = 4426;
/// The agent version is refused (reserved).
pub const VERSION: u16 = 4427;
/// Too many connects, or too many workers of one agent.
pub const RATE: u16 = 4429;

/// What a close code means, in a few words for people; `None` for a code that this protocol does not have.
#[must_use]
pub fn meaning(code: u16) -> Option<&'static str> {
    Some(match code {
        NORMAL => "normal closure",
        TOO_BIG => "message too big",
        INTERNAL => "malformed frame or internal error",
        RESTART => "the brain restarts",
        REPLACED => "replaced by another connection of the same worker",
        REVOKED => "agent revoked or project archived",
        BAD_FIRST_FRAME => "bad first frame",
        TOKEN => "token refused",
        FORBIDDEN => "refused: address, signature or replay",
        IDLE => "no frame for 90 seconds",
        PROTOCOL => "protocol version refused",
        VERSION => "agent version refused",
        RATE => "too many connections",
        _ => return None,
    })
}
