//! Streams C-STOREs from our SCU to an SCP that throws them away, and prints the rate.
//!
//! `cargo run --release -p dimse --example throughput -- [bytes of each = 1 GiB] [count = 1] [PDU size = 16384]`

use std::time::Instant;

use dimse::{Choice, Command, Connector, Limits, RequestedAssociation, Status, StoreItem, Transport};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let bytes = args.next().transpose()?.unwrap_or(1 << 30);
    let count = args.next().transpose()?.unwrap_or(1);
    let max_pdu = u32::try_from(args.next().transpose()?.unwrap_or(16384))?;
    let limits = Limits { max_pdu, ..Limits::default() };

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let scp = tokio::spawn(async move { null_scp(Transport::tcp(listener.accept().await?.0)?, limits).await });

    let mut connector = Connector::new("SCU", "SCP").propose(CT, &[EXPLICIT]);
    connector.limits = limits;
    let mut scu = connector.connect(addr).await?;
    let item = StoreItem {
        sop_class: CT.to_owned(),
        sop_instance: "1.2.3".to_owned(),
        transfer_syntax: EXPLICIT.to_owned(),
        move_originator: None,
    };
    let start = Instant::now();
    for _ in 0..count {
        scu.store(&item, &mut tokio::io::repeat(7).take(bytes)).await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    scu.release().await?;
    let received = scp.await??;
    println!(
        "{received} bytes in {seconds:.3} s: {:.0} MB/s, {:.0} messages/s",
        received as f64 / 1e6 / seconds,
        count as f64 / seconds
    );
    Ok(())
}

async fn null_scp(transport: Transport, limits: Limits) -> dimse::Result<u64> {
    let requested = RequestedAssociation::receive(transport, limits).await?;
    let mut association = requested.accept(|context| Choice::first_of(context, &[EXPLICIT]), None).await?;
    let mut received = 0;
    while let Some(incoming) = association.next().await? {
        while let Some(piece) = association.chunk().await? {
            received += piece.len() as u64;
        }
        if let Command::Request(request) = incoming.command {
            association.respond(incoming.context_id, request.response(Status::SUCCESS)).await?;
        }
    }
    Ok(received)
}
