//! Who really calls when a proxy stands in between: `Forwarded` (RFC 7239), or `X-Forwarded-For` and its relatives, from proxies that
//! are trusted (`TrustedProxies`).

use http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Addresses whose word counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

/// One proxy's word: by whom it was called, and for which host.
#[derive(Debug, Default, PartialEq)]
struct Hop {
    caller: Option<SocketAddr>,
    host: Option<String>,
}

impl TrustedProxies {
    /// Reads addresses and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// The text that is neither.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let one = |text: &String| {
            let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            network.ok_or_else(|| format!("{text:?} is neither an IP address nor a network such as 10.0.0.0/8"))
        };
        Ok(Self(texts.iter().map(one).collect::<Result<_, _>>()?))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client behind trusted proxies, and the `Host` that it asked for if a proxy says so. From the nearest proxy outwards, the first
    /// address that is not trusted: what comes before it, anyone can have written.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> (SocketAddr, Option<HeaderValue>) {
        let (mut client, mut host) = (peer, None);
        if self.0.is_empty() || !self.trusts(peer.ip()) {
            return (client, None);
        }
        for hop in hops(headers).into_iter().rev() {
            host = hop.host.and_then(|host| HeaderValue::from_str(&host).ok()).or(host);
            match hop.caller {
                Some(caller) => client = caller,
                None => break, // hidden, or nonsense
            }
            if !self.trusts(client.ip()) {
                break;
            }
        }
        (client, host)
    }
}

/// What proxies said, the farthest first. `Forwarded` wins: it is the standard, and both would have to be put in order.
fn hops(headers: &HeaderMap) -> Vec<Hop> {
    let forwarded = elements(headers, header::FORWARDED.as_str());
    if !forwarded.is_empty() {
        return forwarded.iter().map(|text| hop(text)).collect();
    }
    let mut hops: Vec<_> =
        elements(headers, "x-forwarded-for").iter().map(|text| Hop { caller: address(text), host: None }).collect();
    if let Some(last) = hops.last_mut() {
        last.host = elements(headers, "x-forwarded-host").pop();
    }
    hops
}

/// The elements of a list in all headers of that name; commas in quotes do not separate.
fn elements(headers: &HeaderMap, name: &str) -> Vec<String> {
    let mut found = vec![];
    for value in headers.get_all(name) {
        let (mut element, mut quoted) = (String::new(), false);
        for c in String::from_utf8_lossy(value.as_bytes()).chars() {
            match c {
                ',' if !quoted => found.push(std::mem::take(&mut element)),
                _ => {
                    quoted ^= c == '"';
                    element.push(c);
                }
            }
        }
        found.push(element);
    }
    found.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// `for=192.0.2.1;host=example.org`
fn hop(text: &str) -> Hop {
    let mut hop = Hop::default();
    for (name, value) in text.split(';').filter_map(|pair| pair.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.caller = address(value),
            "host" => hop.host = Some(value.to_owned()),
            _ => {}
        }
    }
    hop
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    text.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse().ok()?, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(trusted: &[&str], peer: &str, headers: &[(&'static str, &str)], expected: (&str, Option<&str>)) {
        let trusted = TrustedProxies::parse(&trusted.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let (client, host) = trusted.client(SocketAddr::new(peer.parse().unwrap(), 1), &map);
        assert_eq!((client.ip().to_string().as_str(), host.as_ref().and_then(|h| h.to_str().ok())), expected, "{headers:?}");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let headers = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-host", "h")];
        check(&[], "127.0.0.1", &headers, ("127.0.0.1", None));
        check(&["10.0.0.0/8"], "127.0.0.1", &headers, ("127.0.0.1", None));
        check(&["127.0.0.1"], "127.0.0.1", &headers, ("1.1.1.1", Some("h")));
        check(&["127.0.0.0/8"], "::ffff:127.0.0.1", &headers, ("1.1.1.1", Some("h")));
    }

    #[test]
    fn the_first_stranger_is_the_client() {
        let trusted = &["127.0.0.1", "10.0.0.0/8"];
        check(trusted, "127.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.1.1.1")], ("1.1.1.1", None));
        check(trusted, "127.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1:80")], ("1.1.1.1", None));
        check(trusted, "127.0.0.1", &[("x-forwarded-for", "10.0.0.1, 10.0.0.2")], ("10.0.0.1", None));
        check(trusted, "127.0.0.1", &[("x-forwarded-for", "6.6.6.6, nonsense")], ("127.0.0.1", None));
        check(trusted, "127.0.0.1", &[], ("127.0.0.1", None));
    }

    #[test]
    fn forwarded_is_read_as_the_standard_says() {
        let trusted = &["127.0.0.1"];
        for (text, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", ("192.0.2.60", None)),
            ("For=\"[2001:db8:cafe::17]:4711\";Host=h:8042", ("2001:db8:cafe::17", Some("h:8042"))),
            ("for=6.6.6.6, for=192.0.2.43", ("192.0.2.43", None)),
            ("for=\"_hidden, x\"", ("127.0.0.1", None)),
            ("for=unknown", ("127.0.0.1", None)),
            ("junk", ("127.0.0.1", None)),
        ] {
            check(trusted, "127.0.0.1", &[("forwarded", text), ("x-forwarded-for", "9.9.9.9")], expected);
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in ["host", "10.0.0.0/33", ""] {
            assert!(TrustedProxies::parse(&[bad.to_owned()]).unwrap_err().contains(&format!("{bad:?}")));
        }
    }
}
