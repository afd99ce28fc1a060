//! Jobs that make files: what remains in the storage area when it is full, when files are missing, when processes die.

use super::*;
use crate::Ctx;
use crate::jobs::kinds::{Archive, ArchiveOptions};
use bytes::Bytes;
use model::ports::index::RemoteKind;
use model::{ErrorKind, Fields, FindRequest};
use serde_json::json;

/// A DICOM file in Explicit VR Little Endian with some pixels.
fn file(number: u32) -> Bytes {
    file_of_study(number, "1.1")
}

pub(super) fn file_of_study(number: u32, study: &str) -> Bytes {
    fn put(out: &mut Vec<u8>, (group, element): (u16, u16), vr: &[u8; 2], value: &[u8]) {
        let mut value = value.to_vec();
        value.resize(value.len().next_multiple_of(2), if vr == b"UI" { 0 } else { b' ' });
        out.extend([group.to_le_bytes(), element.to_le_bytes(), *vr].concat());
        out.extend((value.len() as u16).to_le_bytes());
        out.extend(value);
    }
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    put(&mut out, (2, 0x10), b"UI", b"1.2.840.10008.1.2.1");
    put(&mut out, (8, 0x16), b"UI", b"1.2.840.10008.5.1.4.1.1.2");
    put(&mut out, (8, 0x18), b"UI", format!("1.2.{number}").as_bytes());
    put(&mut out, (8, 0x60), b"CS", b"CT");
    put(&mut out, (0x10, 0x20), b"LO", b"P");
    put(&mut out, (0x20, 0xD), b"UI", study.as_bytes());
    put(&mut out, (0x20, 0xE), b"UI", b"1.1.1");
    out.extend(b"\xe0\x7f\x10\x00OB\0\0");
    out.extend(1000_u32.to_le_bytes());
    // What no packer can shrink.
    out.extend((0..1000_u32).map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(number * 97) >> 24) as u8));
    out.into()
}

/// Stores instances through the last process, and makes an archive of their study.
struct Study {
    sim: Sim,
    files: Vec<AttachmentId>,
    arguments: Value,
}

impl Study {
    fn new(setup: Setup) -> Self {
        let sim = Sim::new(setup);
        let at = setup.processes - 1;
        let eng = sim.processes[at].eng.clone().unwrap();
        let runtime = sim.processes[at].runtime.as_ref().unwrap();
        let arguments = runtime.block_on(async {
            let mut study = None;
            for number in 1..=3 {
                study = Some(crate::store::store(&eng, &Ctx::default(), file(number)).await.unwrap().ids.study);
            }
            let study = study.unwrap().to_string();
            let archive = Archive::new(&eng, &[&study], "study", ArchiveOptions::default()).await.unwrap();
            serde_json::to_value(archive).unwrap()
        });
        let request = FindRequest { fields: Fields::ALL, ..FindRequest::all(Level::Instance) };
        let files = sim.read(sim.shared.index.find(&request)).iter().map(|i| i.attachments[0].id).collect();
        lock(&sim.shared.calls).clear();
        Self { sim, files, arguments }
    }

    fn submit(&mut self) -> JobId {
        self.sim.submit_raw("Archive", 1, self.arguments.clone())
    }

    /// The output of a job, if it has one: its bytes are there.
    fn output(&self, id: JobId) -> Option<Bytes> {
        let output = {
            let _inside = self.sim.outside.enter();
            wait(self.sim.shared.index.job_output(id, "archive")).ok()?
        };
        let bytes = wait(self.sim.shared.storage.read(output.blob, None)).expect("no row without its bytes");
        assert_eq!(bytes.len() as u64, output.size_bytes);
        Some(bytes)
    }

    /// Every blob that was ever written and is still there, save the instances' files and the outputs of jobs.
    fn leftovers(&mut self, jobs: &[JobId]) -> usize {
        // What a dead process reserved is swept by the living.
        self.sim.run_for(Duration::from_secs(5));
        let outputs: Vec<AttachmentId> = jobs
            .iter()
            .filter_map(|id| {
                let _inside = self.sim.outside.enter();
                wait(self.sim.shared.index.job_output(*id, "archive")).ok().map(|output| output.blob)
            })
            .collect();
        let written: BTreeSet<AttachmentId> =
            lock(&self.sim.shared.calls).iter().filter(|c| c.name == "finish").filter_map(|c| c.blob).collect();
        let used = |id: &AttachmentId| self.files.contains(id) || outputs.contains(id);
        written.iter().filter(|id| !used(id)).filter(|id| wait(self.sim.shared.storage.read(**id, None)).is_ok()).count()
    }
}

#[test]
fn a_full_storage_area_is_a_failure_with_a_reason() {
    let mut clean = Study::new(Setup { processes: 1, ..Setup::default() });
    let id = clean.submit();
    clean.sim.check();
    let size = clean.output(id).expect("an archive").len() as u64;
    let written = 3 * file(1).len() as u64;
    for byte in (0..size).step_by(size as usize / 25).chain([size - 1]) {
        let mut study = Study::new(Setup { processes: 1, ..Setup::default() });
        *lock(&study.sim.shared.full_at) = Some(written + byte);
        let id = study.submit();
        study.sim.check();
        let job = study.sim.job(id);
        assert_eq!((job.state, job.error.code), (JobState::Failure, ErrorKind::StorageFull.code()), "full at {byte}: {job:?}");
        assert!(job.error.details.contains("no space"), "{job:?}");
        assert!(study.output(id).is_none());
        assert_eq!(study.leftovers(&[id]), 0, "full at {byte}");
        // There is room again.
        *lock(&study.sim.shared.full_at) = None;
        assert_eq!(study.sim.act(id, JobAction::Resubmit), Acted::Accepted);
        study.sim.check();
        assert_eq!(study.output(id).expect("an archive").len() as u64, size);
    }
}

#[test]
fn a_missing_file_is_a_failure_that_names_its_instance() {
    let mut study = Study::new(Setup::default());
    wait(study.sim.shared.storage.remove(study.files[1])).unwrap();
    let id = study.submit();
    study.sim.check();
    let job = study.sim.job(id);
    assert_eq!((job.state, job.error.code), (JobState::Failure, ErrorKind::InexistentFile.code()), "{job:?}");
    assert!(job.error.details.contains("instance "), "{job:?}");
    assert_eq!(study.leftovers(&[id]), 0);
}

#[test]
fn a_missing_file_is_counted_by_a_permissive_send() {
    for permissive in [false, true] {
        let mut study = Study::new(Setup::default());
        for file in &study.files {
            wait(study.sim.shared.storage.remove(*file)).unwrap();
        }
        let modality = json!({"AET": "R", "Host": "127.0.0.1", "Port": 1});
        study.sim.read(study.sim.shared.index.put_remote(RemoteKind::Modality, "r", &modality));
        let request = FindRequest { fields: Fields::NONE, ..FindRequest::all(Level::Instance) };
        let found = study.sim.read(study.sim.shared.index.find(&request));
        let arguments = json!({
            "modality": "r",
            "resources": [],
            "instances": found.iter().map(|i| i.id.to_string()).collect::<Vec<_>>(),
            "permissive": permissive,
            "options": {"local_aet": null, "called_aet": null, "host": null, "port": null, "timeout_s": 1, "move_originator": null},
            "local_aet": "A",
            "remote_aet": "R",
        });
        let id = study.sim.submit_raw("DicomModalityStore", 1, arguments);
        study.sim.check();
        let job = study.sim.job(id);
        if permissive {
            assert_eq!(job.state, JobState::Success, "{job:?}");
            assert_eq!(job.content["FailedInstancesCount"], 3, "{job:?}");
        } else {
            assert_eq!((job.state, job.error.code), (JobState::Failure, ErrorKind::InexistentFile.code()), "{job:?}");
            assert!(job.error.details.contains("instance "), "{job:?}");
        }
    }
}

/// Also between the durable output and the row that names it.
#[test]
fn an_archive_is_there_once_wherever_its_maker_dies() {
    let mut clean = Study::new(Setup::default());
    let id = clean.submit();
    clean.sim.check();
    let size = clean.output(id).expect("an archive").len();
    let calls = lock(&clean.sim.shared.calls).iter().filter(|call| call.process == 0).count();
    assert!((8..100).contains(&calls), "{calls} calls");
    for call in 0..calls.min(30) {
        for (when, what) in [
            (When::Before, What::Kill),
            (When::After, What::Kill),
            (When::After, What::Fail),
            (When::Before, What::Freeze(Duration::from_secs(30))),
        ] {
            let mut study = Study::new(Setup::default());
            *lock(&study.sim.shared.faults) = vec![fault(call, when, what.clone())];
            let id = study.submit();
            study.sim.check();
            // The sleeper wakes up and clears away what it made in vain.
            study.sim.run_for(Duration::from_secs(35));
            let job = study.sim.job(id);
            assert_eq!(job.state, JobState::Success, "{when:?} call {call}: {job:?}");
            assert_eq!(study.output(id).expect("an archive").len(), size);
            let left = study.leftovers(&[id]);
            // What a killed process left has its name on the list of what it reserved; that is swept at the next start.
            let killed = matches!(what, What::Kill);
            assert!(left <= usize::from(killed), "{when:?} call {call}: {left} blobs without a row");
        }
    }
}
