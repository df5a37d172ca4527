//! An outside issuer behind TLS: its keys are taken only from a server that the machine's own certificates vouch for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;

use super::issuer::Issuer;
use super::{connect, post_as, refused_token};
use crate::support::{Builder, Gateway, eventually};

/// An authority of an organisation's own.
struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { root: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A server that shows a certificate of this authority, which may be altered before it is signed.
    fn server(&self, name: &str, alter: impl FnOnce(&mut CertificateParams)) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        alter(&mut params);
        let certificate = params.signed_by(&key, &self.root).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }

    /// A gateway on a machine that trusts this authority and no other.
    fn trusted(&self, builder: Builder) -> Builder {
        let file = builder.directory().join("authorities.pem");
        std::fs::write(&file, self.root.pem()).unwrap();
        builder.env("SSL_CERT_FILE", file.to_str().unwrap())
    }
}

#[tokio::test]
async fn keys_of_an_issuer_behind_a_private_authority_are_taken_where_the_machine_trusts_it() {
    let authority = Authority::new();
    let issuer = Issuer::start_tls("ed25519-1.pem", authority.server("127.0.0.1", |_| {})).await;
    let builder = Gateway::builder().setting("trusted_issuers", issuer.setting());
    let mut gateway = authority.trusted(builder).start().await;
    let mut client = connect(&gateway, &issuer.token("ada")).await;
    client.ok("server.info", json!({})).await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn c1_keys_of_an_issuer_whose_certificate_is_not_good_are_not_taken_and_nothing_leaks() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    };
    for (what, server) in [
        ("of an unknown authority", unknown.server("127.0.0.1", |_| {})),
        ("of another name", authority.server("id.example.com", |_| {})),
        ("out of date", authority.server("127.0.0.1", expired)),
    ] {
        let issuer = Issuer::start_tls("ed25519-1.pem", server).await;
        let builder = Gateway::builder().setting("trusted_issuers", issuer.setting());
        let gateway = authority.trusted(builder).start().await;
        let token = issuer.token("ada");
        assert_eq!(refused_token(&gateway, &token).await, 401, "{what}");
        // A caller is told what every bad token is told.
        let told = post_as(gateway.http, "/auth/ticket", &token, &[]).await;
        let of_nonsense = post_as(gateway.http, "/auth/ticket", "not.a.token", &[]).await;
        assert_eq!((told.status, told.text()), (of_nonsense.status, of_nonsense.text()), "{what}");
        // The operator is told why, and no token and no key.
        let log = eventually("the failure to be told of", || {
            let log = gateway.log();
            log.contains("keys could not be fetched").then_some(log)
        })
        .await;
        assert!(log.contains("invalid peer certificate"), "{what}: {log}");
        assert!(!log.contains(&token) && !log.contains("BEGIN"), "{what}");
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 0, "{what}: nothing is asked of who is not trusted");
        gateway.client().await.ok("server.info", json!({})).await;
    }
}
