//! Pages of other origins, and names that are not ours.

use super::*;

const ALLOW: &str = "access-control-allow-origin";

async fn preflight(server: &Server, path: &str, origin: &str) -> Answer {
    let headers = [
        format!("Origin: {origin}"),
        "Access-Control-Request-Method: POST".to_owned(),
        "Access-Control-Request-Headers: authorization".to_owned(),
    ];
    server.ask(request("OPTIONS", path, &headers.each_ref().map(String::as_str), "")).await
}

#[tokio::test]
async fn d4_a_listed_page_may_log_in_and_renew_and_nothing_else() {
    let house = House::new();
    let server = house.serve().await;
    for route in ROUTES.iter().filter(|route| route.verb == Verb::Post) {
        let asked = preflight(&server, route.path, PAGE).await;
        assert_eq!((asked.status, asked.header(ALLOW)), (204, Some(PAGE)), "{}", route.path);
        assert_eq!(asked.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(asked.header("access-control-allow-headers"), Some("authorization, content-type"));
        let headers = [&format!("Origin: {PAGE}"), "Content-Type: application/json"];
        let answer = server.ask(request("POST", route.path, &headers, "{}")).await;
        // No provider is set here.
        let is_off = route.id == RouteId::OidcToken && answer.status == 501;
        assert!(is_off || matches!(answer.status, 401 | 422), "{} {answer:?}", route.path);
        assert_eq!((answer.header(ALLOW), answer.header("vary")), (Some(PAGE), Some("origin")), "{}", route.path);
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    for path in ["/health", "/metrics", "/readyz", "/openapi.json", "/.well-known/jwks.json", "/nothing"] {
        let answer = server.ask(request("GET", path, &[&format!("Origin: {PAGE}")], "")).await;
        assert_eq!(answer.header(ALLOW), None, "{path}");
        assert!(matches!(preflight(&server, path, PAGE).await.status, 404 | 405), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn d4_no_other_page_may_read_anything() {
    let house = House::new();
    let server = house.serve().await;
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.com",
        "https://APP.example.com",
        "null",
        "*",
    ] {
        for path in ["/login", "/auth/login", "/auth/refresh", "/auth/ticket", "/auth/logout"] {
            let asked = preflight(&server, path, origin).await;
            assert_eq!((asked.status, asked.header(ALLOW)), (405, None), "{path} {origin}");
            let headers = [&format!("Origin: {origin}"), "Content-Type: application/json"];
            let answer = server.ask(request("POST", path, &headers, "{}")).await;
            assert_eq!((answer.header(ALLOW), answer.header("vary")), (None, Some("origin")), "{path} {origin}");
            is_problem(&answer, 403);
            assert_eq!(answer.json()["type"], "urn:cc-gateway:origin", "{path} {origin}");
        }
        let status = server.ask(request("GET", "/auth/status", &[&format!("Origin: {origin}")], "")).await;
        assert_eq!((status.status, status.header(ALLOW)), (200, None), "{origin}");
    }
    let twice = [&format!("Origin: {PAGE}"), "Origin: https://evil.example"].map(|header| header.to_string());
    let answer = server.ask(request("GET", "/auth/status", &twice.each_ref().map(String::as_str), "")).await;
    assert_eq!(answer.header(ALLOW), None);
    server.stop().await;
}

#[tokio::test]
async fn d4_no_other_page_gets_tokens_though_it_has_the_password() {
    let house = House::new();
    house.state.accounts.create("ada", "secret words".into(), Role::User).await.unwrap();
    let server = house.serve().await;
    let body = r#"{"username":"ada","password":"secret words"}"#;
    let json = "Content-Type: application/json";
    let login = async |headers: &[&str]| server.ask(request("POST", "/login", headers, body)).await.status;
    assert_eq!(login(&[json, "Origin: https://evil.example"]).await, 403);
    assert_eq!(login(&[json, "Origin: null"]).await, 403);
    assert_eq!(login(&[json, &format!("Origin: {PAGE}"), "Origin: https://evil.example"]).await, 403);
    assert_eq!(login(&[json, &format!("Origin: {PAGE}")]).await, 200);
    assert_eq!(login(&[json]).await, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_name_that_a_stranger_could_have_made_point_here_is_refused_on_every_route() {
    let house = House::new();
    let server = house.serve().await;
    let ask = async |verb: &str, target: &str, host: &str| {
        let text =
            format!("{verb} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        server.ask(text).await
    };
    for route in ROUTES {
        let refused = ask(route.method(), route.path, "evil.com:8001").await;
        is_problem(&refused, 403);
        assert_eq!(refused.json()["type"], "urn:cc-gateway:host", "{}", route.path);
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    }
    for host in ["127.0.0.1:8001", "localhost", "gateway.example.com", "cc-gateway:8000", "[::1]"] {
        assert_eq!(ask("GET", "/health", host).await.status, 200, "{host}");
    }
    // The whole address in the first line counts too, whatever the header says.
    is_problem(&ask("GET", "http://evil.com/health", "localhost").await, 403);
    assert_eq!(ask("GET", "http://localhost/health", "localhost").await.status, 200);
    server.stop().await;
}
