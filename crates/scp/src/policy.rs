//! Who may do what: AE titles, known modalities, presentation contexts.

use std::collections::HashSet;
use std::net::IpAddr;

use dicom_core::dictionary::UidDictionary;
use dicom_dictionary_std::StandardSopClassDictionary;
use dimse::{Choice, ContextResult, ProposedContext, Rejection, VERIFICATION};
use engine::{Engine, Modality};

use crate::config::ScpConfig;
use crate::wildcard;

/// Transfer syntaxes for C-ECHO, which carries no data set; the last is the retired Explicit VR Big Endian.
const PLAIN: [&str; 3] = [dimse::IMPLICIT_VR_LITTLE_ENDIAN, dimse::EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"];

/// What a peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Echo,
    Store,
}

/// The other side of an association, as far as permissions go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub aet: &'a str,
    pub ip: IpAddr,
}

/// The known modalities that the peer can be: several may share an AE title. They are read for each association, so that what any
/// process was told counts at once.
///
/// # Errors
/// Those of the index.
pub(crate) async fn known(config: &ScpConfig, eng: &Engine, caller: Caller<'_>) -> model::Result<Vec<Modality>> {
    if config.always_allow_echo && config.always_allow_store {
        return Ok(vec![]); // nobody asks
    }
    let known = engine::remotes::modalities(eng).await?.into_values();
    let is_caller = |known: &Modality| {
        same_aet(config, &known.aet, caller.aet) && (!config.check_modality_host || is_host(&known.host, caller.ip))
    };
    Ok(known.filter(is_caller).collect())
}

/// Decides about a whole association: called and calling AE title.
///
/// # Errors
/// How to refuse it.
pub(crate) fn admit(config: &ScpConfig, known: &[Modality], called_aet: &str) -> Result<(), Rejection> {
    if config.check_called_aet && !same_aet(config, called_aet, &config.aet) {
        return Err(Rejection::CALLED_AET_NOT_RECOGNIZED);
    }
    // Orthanc: a peer that nobody knows gets in only if some service is open to all.
    if config.always_allow_echo || config.always_allow_store || !known.is_empty() {
        Ok(())
    } else {
        Err(Rejection::CALLING_AET_NOT_RECOGNIZED)
    }
}

/// Whether the peer may use the service.
pub(crate) fn allows(config: &ScpConfig, known: &[Modality], service: Service) -> bool {
    match service {
        Service::Echo => config.always_allow_echo || known.iter().any(|known| known.allows.echo),
        Service::Store => config.always_allow_store || known.iter().any(|known| known.allows.store),
    }
}

fn same_aet(config: &ScpConfig, one: &str, other: &str) -> bool {
    let (one, other) = (one.trim(), other.trim());
    if config.strict_aet_comparison { one == other } else { one.eq_ignore_ascii_case(other) }
}

/// Whether a modality's host is this address. Names are not resolved (`localhost` excepted): a name server must not slow
/// down an association, and could be made to lie.
fn is_host(host: &str, ip: IpAddr) -> bool {
    match host.trim().parse::<IpAddr>() {
        Ok(known) => known.to_canonical() == ip.to_canonical(),
        Err(_) => host.trim().eq_ignore_ascii_case("localhost") && ip.to_canonical().is_loopback(),
    }
}

/// What is accepted now, for all contexts of one association.
pub(crate) struct Contexts<'a> {
    transfer_syntaxes: Vec<String>,
    sop_classes: &'a HashSet<String>,
    rejected: &'a [String],
    unknown_sop_classes: bool,
}

impl<'a> Contexts<'a> {
    pub(crate) fn now(config: &'a ScpConfig, sop_classes: &'a HashSet<String>, eng: &Engine) -> Self {
        let chosen = eng.settings.accepted_transfer_syntaxes();
        Self {
            transfer_syntaxes: chosen.unwrap_or_else(|| config.accepted_transfer_syntaxes.clone()),
            sop_classes,
            rejected: &config.rejected_sop_classes,
            unknown_sop_classes: eng.settings.unknown_sop_class_accepted().unwrap_or(config.unknown_sop_class_accepted),
        }
    }

    /// Decides about one context. The first proposed transfer syntax that is accepted wins: it is the one that the
    /// sender need not convert to.
    pub(crate) fn choose(&self, proposed: &ProposedContext) -> Choice {
        let sop_class = proposed.abstract_syntax.as_str();
        let accepts: &dyn Fn(&str) -> bool = if sop_class == VERIFICATION {
            &|ts| PLAIN.contains(&ts)
        } else if self.sop_classes.contains(sop_class) || (self.unknown_sop_classes && self.is_unknown(sop_class)) {
            &|ts| self.transfer_syntaxes.iter().any(|accepted| accepted == ts)
        } else {
            return Choice::Refuse(ContextResult::AbstractSyntaxNotSupported);
        };
        match proposed.transfer_syntaxes.iter().find(|ts| accepts(ts)) {
            Some(ts) => Choice::Accept(ts.clone()),
            None => Choice::Refuse(ContextResult::TransferSyntaxesNotSupported),
        }
    }

    /// A SOP class that the standard does not know may be a private or future storage class; one that it knows as part of
    /// another service is not, and one that the configuration rejects stays rejected.
    fn is_unknown(&self, sop_class: &str) -> bool {
        !sop_class.is_empty()
            && StandardSopClassDictionary.by_uid(sop_class).is_none()
            && !self.rejected.iter().any(|pattern| wildcard::matches(pattern, sop_class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aets_are_compared_as_configured() {
        let loose = ScpConfig::default();
        let strict = ScpConfig { strict_aet_comparison: true, ..ScpConfig::default() };
        assert!(same_aet(&loose, "Orthanc ", "ORTHANC"));
        assert!(!same_aet(&strict, "Orthanc", "ORTHANC"));
        assert!(same_aet(&strict, " ORTHANC", "ORTHANC "));
    }

    #[test]
    fn hosts_are_addresses() {
        for (host, ip, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("localhost", "::1", true),
            ("localhost", "10.0.0.1", false),
            ("pacs.example", "10.0.0.1", false),
            ("10.0.0.1", "10.0.0.2", false),
        ] {
            assert_eq!(is_host(host, ip.parse().unwrap()), expected, "{host} and {ip}");
        }
    }

    fn contexts<'a>(sop_classes: &'a HashSet<String>, rejected: &'a [String], unknown_sop_classes: bool) -> Contexts<'a> {
        Contexts {
            rejected,
            transfer_syntaxes: ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2"].map(str::to_owned).into(),
            sop_classes,
            unknown_sop_classes,
        }
    }

    fn proposed(sop_class: &str, transfer_syntaxes: &[&str]) -> ProposedContext {
        let transfer_syntaxes = transfer_syntaxes.iter().map(|&ts| ts.to_owned()).collect();
        ProposedContext { id: 1, abstract_syntax: sop_class.to_owned(), transfer_syntaxes }
    }

    #[test]
    fn contexts_are_chosen_by_sop_class() {
        const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
        const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
        const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
        const PRIVATE: &str = "1.3.12.2.1107.5.9.1";
        let no_class = Choice::Refuse(ContextResult::AbstractSyntaxNotSupported);
        let no_syntax = Choice::Refuse(ContextResult::TransferSyntaxesNotSupported);
        let (implicit, explicit, jpeg) = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70");
        let rejected = ["1.3.13*".to_owned()];
        let classes = HashSet::from([CT.to_owned()]);
        for (unknown, sop_class, offered, expected) in [
            (false, CT, &[explicit, implicit, jpeg][..], Choice::Accept(implicit.to_owned())),
            (false, CT, &[explicit], no_syntax.clone()),
            (false, CT, &[], no_syntax.clone()),
            (false, MR, &[implicit], no_class.clone()),
            (false, PRIVATE, &[implicit], no_class.clone()),
            (true, PRIVATE, &[implicit], Choice::Accept(implicit.to_owned())),
            (true, "1.3.13.1", &[implicit], no_class.clone()),
            (true, FIND, &[implicit], no_class.clone()),
            (true, MR, &[implicit], no_class.clone()),
            (true, "", &[implicit], no_class),
            (false, VERIFICATION, &[jpeg, explicit], Choice::Accept(explicit.to_owned())),
            (false, VERIFICATION, &[jpeg], no_syntax),
        ] {
            assert_eq!(
                contexts(&classes, &rejected, unknown).choose(&proposed(sop_class, offered)),
                expected,
                "{sop_class} {offered:?}"
            );
        }
    }
}
