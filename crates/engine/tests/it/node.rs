//! A DICOM node that behaves as a test wants.

use dimse::{Association, Choice, Command, Incoming, Limits, Operation, RequestedAssociation, Status, Transport};
use engine::Modality;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What it does with a C-STORE.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Status(u16),
    /// Aborts once the command is there.
    Abort,
    /// Answers, and aborts then.
    StatusThenAbort(u16),
    /// Reads nothing any more.
    StopReading,
    /// Reads everything and does not answer.
    Silence,
}

/// What it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub association: usize,
    pub calling_aet: String,
    pub called_aet: String,
    pub sop_instance: String,
    pub transfer_syntax: String,
    pub move_originator: Option<(String, u16)>,
    pub data: Vec<u8>,
}

/// SOP classes with the transfer syntaxes that were proposed for each.
pub type Proposal = Vec<(String, Vec<String>)>;

/// A listening node; it ends with the test.
pub struct Node {
    pub remote: Modality,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    /// Transfer syntaxes that it takes; none: any.
    syntaxes: Vec<&'static str>,
    /// For one C-STORE after the other; the last one for all that follow.
    answers: Mutex<Vec<Answer>>,
    received: Mutex<Vec<Received>>,
    /// Proposed contexts by association.
    proposed: Mutex<Vec<Proposal>>,
    endings: Mutex<Vec<String>>,
}

impl Node {
    pub async fn start(syntaxes: &[&'static str], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            syntaxes: syntaxes.to_vec(),
            answers: Mutex::new(answers.to_vec()),
            received: Mutex::default(),
            proposed: Mutex::default(),
            endings: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let (of_node, until) = (shared.clone(), stop.clone());
        tokio::spawn(until.run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let ending = of_node.serve(Transport::tcp(stream).unwrap()).await;
                of_node.endings.lock().unwrap().push(ending);
            }
        }));
        let definition = serde_json::json!({"AET": "SINK", "Host": "127.0.0.1", "Port": port});
        Self { remote: Modality::parse(&definition).unwrap(), shared, _stop: stop.drop_guard() }
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// SOP instances that it took.
    pub fn instances(&self) -> Vec<String> {
        self.received().into_iter().map(|r| r.sop_instance).collect()
    }

    pub fn proposed(&self) -> Vec<Proposal> {
        self.shared.proposed.lock().unwrap().clone()
    }

    /// How associations ended, once `count` have.
    pub async fn endings(&self, count: usize) -> Vec<String> {
        for _ in 0..500 {
            let endings = self.shared.endings.lock().unwrap().clone();
            if endings.len() >= count {
                return endings;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} associations have not ended: {:?}", self.shared.endings.lock().unwrap());
    }
}

impl Shared {
    async fn serve(&self, transport: Transport) -> String {
        let limits = Limits { idle: Some(Duration::from_secs(20)), ..Limits::default() };
        let requested = match RequestedAssociation::receive(transport, limits).await {
            Ok(requested) => requested,
            Err(error) => return error.to_string(),
        };
        let contexts = requested.request().contexts.iter();
        let contexts = contexts.map(|c| (c.abstract_syntax.clone(), c.transfer_syntaxes.clone())).collect();
        let number = {
            let mut proposed = self.proposed.lock().unwrap();
            proposed.push(contexts);
            proposed.len()
        };
        let choose = |context: &dimse::ProposedContext| match self.syntaxes.as_slice() {
            [] => Choice::Accept(context.transfer_syntaxes[0].clone()),
            some => Choice::first_of(context, some),
        };
        let mut association = requested.accept(choose, None).await.unwrap();
        loop {
            match association.next().await {
                Ok(Some(incoming)) => {
                    let answer = {
                        let mut answers = self.answers.lock().unwrap();
                        if answers.len() > 1 { answers.remove(0) } else { answers[0] }
                    };
                    match answer {
                        Answer::Abort => {
                            association.abort().await;
                            return "aborted it".into();
                        }
                        Answer::StopReading => {
                            // Long enough for every test; the connection stays open.
                            tokio::time::sleep(Duration::from_secs(20)).await;
                            return "stopped reading".into();
                        }
                        Answer::Status(status) | Answer::StatusThenAbort(status) => {
                            if let Err(error) = self.take(&mut association, &incoming, number, Some(status)).await {
                                return error.to_string();
                            }
                            if matches!(answer, Answer::StatusThenAbort(_)) {
                                association.abort().await;
                                return "aborted it".into();
                            }
                        }
                        Answer::Silence => {
                            if let Err(error) = self.take(&mut association, &incoming, number, None).await {
                                return error.to_string();
                            }
                        }
                    }
                }
                Ok(None) => {
                    association.close().await;
                    return "released".into();
                }
                Err(error) => return error.to_string(),
            }
        }
    }

    async fn take(
        &self,
        association: &mut Association,
        incoming: &Incoming,
        number: usize,
        status: Option<u16>,
    ) -> dimse::Result<()> {
        let Command::Request(request) = &incoming.command else { panic!("not a request") };
        let Operation::Store { sop_instance, move_originator, .. } = &request.operation else { panic!("not a C-STORE") };
        let mut data = vec![];
        while let Some(piece) = association.chunk().await? {
            data.extend_from_slice(&piece);
        }
        self.received.lock().unwrap().push(Received {
            association: number,
            calling_aet: association.peer().calling_aet.clone(),
            called_aet: association.peer().called_aet.clone(),
            sop_instance: sop_instance.clone(),
            transfer_syntax: association.context(incoming.context_id).unwrap().transfer_syntax.clone(),
            move_originator: move_originator.clone(),
            data,
        });
        match status {
            Some(status) => association.respond(incoming.context_id, request.response(Status(status))).await,
            None => Ok(()),
        }
    }
}
