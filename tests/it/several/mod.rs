//! Several gateways on one Redis: any of them serves any client, and one that dies leaves nothing behind.

mod cap;
mod dead_node;
mod elsewhere;
mod guessing;
mod round_robin;
