//! Row D2: real web pages in a real browser, with an access token in their storage.

use serde_json::{Value, json};

use super::{log_in, post_as, text};
use crate::support::browser::{Page, STRANGE_NAME};
use crate::support::settings::list;
use crate::support::{Gateway, metrics};

/// Tries all that a page can do with what it has, and reports what came of it. `GIVEN` stands for an object.
const SCRIPT: &str = r#"
const given = GIVEN;
// As a login has left it there.
localStorage.setItem('token', given.token);
const token = localStorage.getItem('token');

const connect = (url, ...protocols) => new Promise(tell => {
    const socket = new WebSocket(url, protocols);
    let opened = false;
    socket.onopen = () => {
        opened = true;
        socket.send(JSON.stringify({jsonrpc: '2.0', id: 1, method: 'account.list'}));
    };
    socket.onmessage = message => {
        const told = JSON.parse(message.data);
        if (told.id === 1) {
            tell({opened, protocol: socket.protocol, names: told.result.accounts.map(account => account.username)});
            socket.close(1000);
        }
    };
    socket.onclose = closed => tell({opened, code: closed.code});
});
const ask = async (url, how) => {
    try {
        const answer = await fetch(url, how);
        return {status: answer.status, body: await answer.text()};
    } catch (problem) {
        return {failed: problem.name};
    }
};

(async () => {
    const report = {origin: location.origin, has_token: token === given.token};
    report.without = await connect(given.ws, 'cc-gateway.v1');
    report.token_as_ticket = await connect(given.ws, 'cc-gateway.v1', 'ticket.' + token);
    report.token_in_query = await connect(given.ws + '?access_token=' + token, 'cc-gateway.v1');
    report.by_own_name = await connect(given.ws_by_own_name, 'cc-gateway.v1', 'ticket.' + given.ticket);
    report.metrics = await ask(given.http + '/metrics');
    const bearer = {authorization: 'Bearer ' + token};
    const asked = await ask(given.http + '/auth/ticket', {method: 'POST', headers: bearer});
    report.asked_for_ticket = asked.failed || asked.status;
    report.own_ticket = asked.status === 200
        ? await connect(given.ws, 'cc-gateway.v1', 'ticket.' + JSON.parse(asked.body).ticket) : null;
    report.given_ticket = await connect(given.ws, 'cc-gateway.v1', 'ticket.' + given.ticket);
    await fetch('/report', {method: 'POST', body: JSON.stringify(report)});
})();
"#;

/// What a page of that origin came to, with a fresh token and a ticket that was made for the listed page.
async fn tried(gateway: &Gateway, page: &mut Page, host: &str, listed: &str) -> Value {
    let token = text(&log_in(gateway).await, "access_token").to_owned();
    let ticket = post_as(gateway.http, "/auth/ticket", &token, &[("origin", listed)]).await.json();
    let given = json!({
        "token": token,
        "ticket": ticket["ticket"],
        "http": format!("http://{}", gateway.http),
        "ws": format!("ws://{}/ws", gateway.ws),
        "ws_by_own_name": format!("ws://{host}:{}/ws", gateway.ws.port()),
    });
    let report = page.shown_as(host, &SCRIPT.replace("GIVEN", &given.to_string())).await;
    assert_eq!(report["origin"], format!("http://{host}:{}", page.address.port()));
    assert_eq!(report["has_token"], true, "{report:#}");
    report
}

/// How many upgrades were refused with that status.
async fn refused(gateway: &Gateway, status: u16) -> f64 {
    metrics::value(gateway.http, &format!("cc_gateway_upgrades_refused_total{{status=\"{status}\"}}")).await
}

fn is_shut_out(report: &Value, ways: &[&str]) {
    for way in ways {
        assert_eq!(report[way], json!({"opened": false, "code": 1006}), "{way}: {report:#}");
    }
}

#[tokio::test]
async fn d2_a_page_of_another_origin_with_a_token_in_its_storage_cannot_connect_and_a_listed_one_can() {
    let (mut page, mut neighbour) = (Page::start().await, Page::start().await);
    let listed = format!("http://{}", page.address);
    let mut gateway = Gateway::builder().setting("allowed_origins", list([&listed])).start().await;
    let without_ticket = ["without", "token_as_ticket", "token_in_query"];
    // A stranger's page, and one of the listed page's machine on another port: with a good token, and with a ticket that
    // would serve the listed page.
    for (page, host) in [(&mut page, STRANGE_NAME), (&mut neighbour, "127.0.0.1")] {
        let before = refused(&gateway, 403).await;
        let report = tried(&gateway, page, host, &listed).await;
        is_shut_out(&report, &without_ticket);
        is_shut_out(&report, &["given_ticket", "by_own_name"]);
        assert_eq!((&report["asked_for_ticket"], &report["own_ticket"]), (&json!("TypeError"), &Value::Null));
        assert_eq!(report["metrics"], json!({"failed": "TypeError"}), "it can't read them");
        // The gateway has refused them, not the browser.
        let refused = refused(&gateway, 403).await - before;
        assert!(refused >= 4.0, "{host}: the gateway has seen {refused} of its attempts");
    }
    assert!(!gateway.log().contains("connection opened"), "{}", gateway.log());
    // The listed page, with the same: by its ticket, and in no other way.
    let before = refused(&gateway, 401).await;
    let report = tried(&gateway, &mut page, "127.0.0.1", &listed).await;
    is_shut_out(&report, &without_ticket);
    assert!(refused(&gateway, 401).await - before >= 3.0);
    assert_eq!(report["asked_for_ticket"], 200);
    assert_eq!(report["own_ticket"], json!({"opened": true, "protocol": "cc-gateway.v1", "names": ["admin"]}));
    assert_eq!(report["metrics"], json!({"failed": "TypeError"}), "metrics are for no page");
    metrics::until(gateway.http, "cc_gateway_connections{listener=\"ws\"}", 0.0).await;
    gateway.stop().await;
}
