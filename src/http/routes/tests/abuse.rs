//! Bodies that are too large or too slow.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::http::testing::PATIENCE;

const JSON_POST: &str = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn e4_a_body_whose_length_is_over_the_limit_is_refused_before_a_byte_of_it_is_sent() {
    let house = House::new();
    let server = house.serve().await;
    let mut stream = server.connect().await;
    // A client that waits for leave is not given it.
    let head = format!("{JSON_POST}Expect: 100-continue\r\nContent-Length: 104857600\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = Answer::one(&mut stream).await;
    is_problem(&answer, 413);
    assert!(answer.json()["detail"].as_str().unwrap().contains("65536"));
    drop(stream);
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn e4_a_chunked_body_without_end_is_refused_and_is_not_read_on() {
    let house = House::new();
    let server = house.serve().await;
    let (mut read, mut write) = server.connect().await.into_split();
    write.write_all(format!("{JSON_POST}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 32_768, " ".repeat(32_768));
    let flood = telemetry::tasks::spawn("test.flood", async move {
        let mut sent = 0;
        while sent < 256 * 1024 * 1024 && write.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len();
        }
        sent
    });
    let mut said = String::new();
    // The reset that ends the flood may come before the end of the stream: what was said before it counts.
    drop(tokio::time::timeout(PATIENCE, read.read_to_string(&mut said)).await.unwrap());
    assert!(said.starts_with("HTTP/1.1 413 "), "{said:?}");
    let sent = tokio::time::timeout(PATIENCE, flood).await.unwrap().unwrap().unwrap();
    // What was not read waits in the two sockets' buffers, at most a few MiB each.
    assert!(sent < 64 * 1024 * 1024, "the server took {sent} bytes");
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_chunked_body_just_within_the_limit_is_read() {
    let house = House::new();
    let server = house.serve().await;
    let body = format!("[]{}", " ".repeat(65_534));
    let chunked =
        format!("{JSON_POST}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n{body}\r\n0\r\n\r\n");
    is_problem(&server.ask(chunked).await, 422);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_408() {
    let mut house = House::new();
    house.state.limits.body_timeout = Duration::from_millis(100);
    let server = house.serve().await;
    let mut stream = server.connect().await;
    stream.write_all(format!("{JSON_POST}Content-Length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
    is_problem(&Answer::one(&mut stream).await, 408);
    drop(stream);
    server.open_becomes(0).await;
    server.stop().await;
}

#[tokio::test]
async fn k6_a_login_in_flight_is_answered_during_the_shutdown() {
    let house = House::new();
    let server = house.serve().await;
    let mut stream = server.connect().await;
    // Leave to send the body shows that the request is in flight.
    stream.write_all(format!("{JSON_POST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n").as_bytes()).await.unwrap();
    let mut leave = [0; 25];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut leave)).await.unwrap().unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.shutdown.cancel();
    stream.write_all(b"{}").await.unwrap();
    is_problem(&Answer::until_end(&mut stream).await, 422);
    server.stop().await;
}
