//! The client's limits, in one place.

use std::time::Duration;

/// Limits of a client. The defaults suit a gateway with its default settings.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long connecting may take, up to the `connected` frame.
    pub connect_timeout: Duration,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// A connection that has brought nothing, not even a ping, for so long is gone. The gateway pings every
    /// 20 s.
    pub silence_limit: Duration,
    /// How often in a row a stream tries to connect again before it gives up.
    pub reconnect_tries: u32,
    /// The first wait before such a try; it doubles up to [`Self::reconnect_wait_limit`].
    pub reconnect_wait: Duration,
    /// The longest wait before such a try.
    pub reconnect_wait_limit: Duration,
    /// Events that may wait for a stream's consumer. When so many wait, the socket is not read.
    pub waiting_events: usize,
    /// Bytes of events that may wait for a stream's consumer; one larger event may wait alone.
    pub waiting_bytes: u32,
    /// Largest message taken from the gateway, in bytes.
    pub max_message_bytes: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(60),
            silence_limit: Duration::from_secs(60),
            reconnect_tries: 12,
            reconnect_wait: Duration::from_millis(100),
            reconnect_wait_limit: Duration::from_secs(10),
            waiting_events: 256,
            waiting_bytes: 1024 * 1024,
            max_message_bytes: 128 * 1024 * 1024,
        }
    }
}
