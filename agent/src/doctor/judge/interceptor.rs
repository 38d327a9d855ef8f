//! Whether an issuer is a proxy that inspects TLS, by its name: there is no other sign of it in a certificate.

/// Products that make a certificate for every host, and what companies call an authority of their own for that.
const SIGNS: [&str; 33] = [
    "inspection",
    "intercept",
    "decrypt",
    "proxy",
    "firewall",
    "web gateway",
    "ssl filter",
    "web shield",
    "man in the middle",
    "mitm",
    "zscaler",
    "fortinet",
    "fortigate",
    "palo alto",
    "netskope",
    "blue coat",
    "bluecoat",
    "cisco umbrella",
    "opendns",
    "sophos",
    "mcafee",
    "forcepoint",
    "websense",
    "barracuda",
    "check point",
    "watchguard",
    "sonicwall",
    "kaspersky",
    "avast",
    "bitdefender",
    "squid",
    "fiddler",
    "portswigger",
];

/// Whether the name of an issuer is one of a proxy that inspects TLS.
pub(super) fn is_likely(issuer: &str) -> bool {
    let issuer = issuer.to_lowercase();
    SIGNS.iter().any(|sign| issuer.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for issuer in
            ["C=US, O=Zscaler Inc., CN=Zscaler Intermediate Root CA", "CN=Example Corp TLS Inspection CA"]
        {
            assert!(is_likely(issuer), "{issuer}");
        }
        for issuer in ["C=US, O=Let's Encrypt, CN=R11", "O=mock-brain, CN=mock-brain intermediate 1a2b"] {
            assert!(!is_likely(issuer), "{issuer}");
        }
    }
}
