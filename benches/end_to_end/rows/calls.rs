//! Small calls and their answers, one after the other on each socket, beside lines through websocketd and `cat`.

use std::time::Instant;

use serde_json::json;

use crate::options::Size;
use crate::server::{Gateway, Server, Websocketd, answer, call};
use crate::socket::Socket;
use crate::statistics::Samples;
use crate::table::{Peer, Row, Target};

/// One socket, and many; and the ratio to websocketd below which neither must fall: 80 % of the first that was measured.
const SOCKETS: [(usize, f64); 2] = [(1, 1.05), (64, 0.86)];

/// Calls a second.
pub(crate) fn measure(size: Size) -> Vec<Row> {
    SOCKETS.into_iter().map(|(sockets, floor)| compare(size, sockets, floor)).collect()
}

fn compare(size: Size, sockets: usize, floor: f64) -> Row {
    let count = usize::try_from(size.count(640, 32_000)).unwrap_or(usize::MAX) / sockets;
    let gateway = Gateway::start(&[("max_messages_per_second", "1000000".to_owned())]);
    let websocketd = Websocketd::is_there().then(Websocketd::echo);
    let text = call("server.info", &json!({}));
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..size.runs {
        let open: Vec<Socket> = (0..sockets).map(|_| gateway.connect()).collect();
        ours.push(rate(open, count, &|socket| {
            socket.send(&text);
            answer(socket);
        }));
        if let Some(websocketd) = &websocketd {
            let open: Vec<Socket> = (0..sockets).map(|_| websocketd.run("")).collect();
            theirs.push(rate(open, count, &|socket| {
                socket.send(&text);
                assert_eq!(socket.message().0, text.as_bytes(), "not what was sent");
            }));
        }
    }
    Row {
        work: format!("small calls on {sockets} socket{}", if sockets == 1 { "" } else { "s" }),
        measure: "calls/s",
        ours,
        peer: Some(Peer { name: "websocketd and cat", samples: theirs }),
        target: Target::AtLeast(floor),
    }
}

/// How many of `ask` are done a second, if each socket does `count` of them one after the other.
fn rate(sockets: Vec<Socket>, count: usize, ask: &(dyn Fn(&mut Socket) + Sync)) -> f64 {
    let calls = sockets.len() * count;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for mut socket in sockets {
            scope.spawn(move || (0..count).for_each(|_| ask(&mut socket)));
        }
    });
    calls as f64 / began.elapsed().as_secs_f64()
}
