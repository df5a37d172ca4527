//! The addresses of the listeners: taken first of all, listened on last.
//!
//! A start that can't have its ports must change nothing; and until a gateway can serve, whoever asks must be refused
//! and not left waiting.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::AppError;

/// Connections that may wait to be accepted, as far as the kernel allows it (`somaxconn`): a burst of clients
/// that come back at once must not be left waiting for a second try.
const LISTEN_QUEUE: u32 = 4_096;

/// An address that is this gateway's, on which nothing listens yet.
pub(super) struct Place {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Place {
    /// Takes the address; port 0 is any free one.
    pub(super) fn take(address: SocketAddr) -> Result<Self, AppError> {
        let bound = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // A restart must not wait until the kernel has forgotten the old connections.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        let socket = bound().map_err(|source| AppError::Bind { address, source })?;
        Ok(Self { socket, address })
    }

    /// Begins to listen. Two that have taken one address at the same time both have it until the first one listens.
    pub(super) fn listen(self) -> Result<TcpListener, AppError> {
        let address = self.address;
        self.socket.listen(LISTEN_QUEUE).map_err(|source| AppError::Bind { address, source })
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn an_address_that_somebody_listens_on_can_not_be_taken() {
        let listener = Place::take(any()).unwrap().listen().unwrap();
        let refused = Place::take(listener.local_addr().unwrap()).err().unwrap();
        assert!(
            matches!(&refused, AppError::Bind { source, .. } if source.kind() == ErrorKind::AddrInUse),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn who_asks_before_it_listens_is_refused_and_served_afterwards() {
        let place = Place::take(any()).unwrap();
        let address = place.socket.local_addr().unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let _listener = place.listen().unwrap();
        assert!(TcpStream::connect(address).is_ok());
    }
}
