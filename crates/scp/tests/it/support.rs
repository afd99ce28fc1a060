//! A running server, requestors for it, and objects to send.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dimse::{Association, Connector, StoreItem, VERIFICATION};
use engine::{Engine, EngineConfig, Modality, Parts};
use model::ports::hooks::{Definition, Destination, Executed, Incoming, IncomingHttp, Verdict};
use model::ports::http::NoHttp;
use model::ports::{Hooks, StorageArea};
use model::{ErrorKind, NewInstance, OrthancId, tags};
use scp::{Scp, ScpConfig};

use crate::index::RememberingIndex;

pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub const PRIVATE: &str = "1.3.6.1.4.1.99999.1";
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const JPEG: &str = "1.2.840.10008.1.2.4.50";

pub struct Server {
    pub scp: Scp,
    pub engine: Arc<Engine>,
    pub stored: Stores,
}

/// Where objects end up.
#[derive(Clone)]
pub struct Stores {
    pub index: Arc<RememberingIndex>,
    storage: Arc<dyn StorageArea>,
}

impl Stores {
    pub fn instance(&self, uid: &str) -> Option<NewInstance> {
        let id = OrthancId::instance("PATIENT", "1.2.3.4.5", "1.2.3.4.5.6", uid);
        self.index.instances.lock().unwrap().get(&id).cloned()
    }

    /// The stored file.
    pub async fn file(&self, uid: &str) -> Option<Vec<u8>> {
        let blob = self.instance(uid)?.blob;
        Some(self.storage.read(blob.id, None).await.unwrap().to_vec())
    }
}

impl Server {
    pub async fn start(config: ScpConfig) -> Self {
        Self::with_engine(config, EngineConfig::default()).await
    }

    /// A server on a free port of the loopback interface.
    pub async fn with_engine(config: ScpConfig, engine: EngineConfig) -> Self {
        let index = Arc::new(RememberingIndex::default());
        let storage = storage::open(storage::StorageConfig::Memory).await.unwrap();
        let parts = Parts {
            index: index.clone(),
            storage: storage.clone(),
            hooks: Arc::new(Script),
            http: Arc::new(NoHttp),
            config: engine,
        };
        let engine = Arc::new(Engine::new(parts));
        engine::remotes::seed(&engine).await.unwrap();
        let config = ScpConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..config };
        let scp = Scp::start(engine.clone(), config).await.unwrap();
        Self { scp, engine, stored: Stores { index, storage } }
    }

    /// An association with Verification (context 1) and CT (context 3).
    pub async fn connect(&self) -> Association {
        connector().connect(self.scp.local_addr()).await.unwrap()
    }

    /// Changes what the REST door changes at run time.
    pub async fn accept_only(&self, transfer_syntaxes: &[&str], unknown_sop_classes: bool) {
        let ctx = engine::Ctx::default();
        let transfer_syntaxes = transfer_syntaxes.iter().map(|&ts| ts.to_owned()).collect();
        engine::settings::set_accepted_transfer_syntaxes(&self.engine, &ctx, transfer_syntaxes).await.unwrap();
        engine::settings::set_unknown_sop_class_accepted(&self.engine, &ctx, unknown_sop_classes).await.unwrap();
    }
}

pub fn connector() -> Connector {
    let mut connector = Connector::new("SCU", "ORTHANC").propose(VERIFICATION, &[IMPLICIT]).propose(CT, &[EXPLICIT]);
    connector.limits.artim = Duration::from_secs(10);
    connector
}

pub fn item(sop_class: &str, uid: &str) -> StoreItem {
    StoreItem {
        sop_class: sop_class.to_owned(),
        sop_instance: uid.to_owned(),
        transfer_syntax: EXPLICIT.to_owned(),
        move_originator: None,
    }
}

/// A data set in Explicit VR Little Endian with pixel data of this even length.
pub fn object(sop_class: &str, uid: &str, pixels: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (group, element, vr, value, pad) in [
        (0x0008_u16, 0x0016_u16, b"UI", sop_class, 0),
        (0x0008, 0x0018, b"UI", uid, 0),
        (0x0010, 0x0020, b"LO", "PATIENT", b' '),
        (0x0020, 0x000D, b"UI", "1.2.3.4.5", 0),
        (0x0020, 0x000E, b"UI", "1.2.3.4.5.6", 0),
    ] {
        let mut value = value.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), pad);
        bytes.extend([group.to_le_bytes(), element.to_le_bytes(), *vr].concat());
        bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(value);
    }
    bytes.extend(b"\xe0\x7f\x10\x00OB\x00\x00");
    bytes.extend(pixels.to_le_bytes());
    bytes.extend((0..pixels).map(|n| (n % 251) as u8));
    bytes
}

/// A known modality by its name.
pub fn modality(aet: &str, host: &str, allow_echo: bool, allow_store: bool) -> (String, Modality) {
    let definition =
        serde_json::json!({"AET": aet, "Host": host, "Port": 104, "AllowEcho": allow_echo, "AllowStore": allow_store});
    (aet.to_owned(), Modality::parse(&definition).unwrap())
}

/// A script that panics on one instance, discards another, and refuses a third.
struct Script;

pub const PANICS: &str = "1.2.3.666";
pub const FILTERED: &str = "1.2.3.777";
pub const REFUSED: &str = "1.2.3.888";

#[async_trait]
impl Hooks for Script {
    async fn received_instance(&self, incoming: &Incoming<'_>) -> model::Result<Verdict> {
        match incoming.header.text(tags::SOP_INSTANCE_UID).as_deref() {
            Some(PANICS) => panic!("as the test wants"),
            Some(FILTERED) => Ok(Verdict::Discard),
            Some(REFUSED) => Ok(Verdict::Refuse(0xA700)),
            _ => Ok(Verdict::Accept),
        }
    }

    async fn outgoing_instance(&self, _: &dataset::DataSet, _: Destination) -> model::Result<bool> {
        Ok(true)
    }

    async fn incoming_http(&self, _: &(dyn Fn() -> IncomingHttp + Send + Sync)) -> model::Result<bool> {
        Ok(true)
    }

    async fn execute(&self, _: &str, _: String) -> model::Result<Executed> {
        Err(ErrorKind::NotImplemented.into())
    }

    fn is_on(&self) -> bool {
        true
    }

    async fn callbacks(&self) -> model::Result<Vec<&'static str>> {
        Ok(vec![])
    }

    async fn event(&self, _: &str, _: Vec<serde_json::Value>) -> model::Result<Vec<serde_json::Value>> {
        Ok(vec![])
    }

    fn define(&self, _: Vec<Definition>) {}
}
