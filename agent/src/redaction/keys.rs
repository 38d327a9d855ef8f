//! The names whose values are hidden. Owns the list, and how names are compared: whole, without regard to
//! case. Must not look at values.

/// The longest name.
const LONGEST: usize = "social_security_number".len();

/// Whether what stands below this key must be hidden.
pub(super) fn is_sensitive(key: &str) -> bool {
    let mut folded = [0; LONGEST];
    let mut length = 0;
    for c in key.chars() {
        let (Some(byte), Some(place)) = (fold(c), folded.get_mut(length)) else { return false };
        *place = byte;
        length += 1;
    }
    is_listed(&folded[..length])
}

/// A character in lower case; none if no name has it. Four letters outside ASCII are equal to one of ours when
/// case does not matter.
fn fold(c: char) -> Option<u8> {
    u8::try_from(c)
        .ok()
        .filter(u8::is_ascii)
        .map_or_else(|| fold_foreign(c), |byte| Some(byte.to_ascii_lowercase()))
}

/// The ASCII letter that a letter outside ASCII is equal to when case does not matter.
pub(super) const fn fold_foreign(c: char) -> Option<u8> {
    match c {
        '\u{130}' | '\u{131}' => Some(b'i'),
        '\u{17f}' => Some(b's'),
        '\u{212a}' => Some(b'k'),
        _ => None,
    }
}

fn is_listed(name: &[u8]) -> bool {
    matches!(
        name,
        b"password"
            | b"passwd"
            | b"pwd"
            | b"old_password"
            | b"new_password"
            | b"password_hash"
            | b"password_confirmation"
            | b"secret"
            | b"secrets"
            | b"client_secret"
            | b"clientsecret"
            | b"webhook_secret"
            | b"webhooksecret"
            | b"hmac_secret"
            | b"hmacsecret"
            | b"token"
            | b"access_token"
            | b"accesstoken"
            | b"refresh_token"
            | b"refreshtoken"
            | b"id_token"
            | b"idtoken"
            | b"api_token"
            | b"apitoken"
            | b"bearer_token"
            | b"bearertoken"
            | b"session_token"
            | b"sessiontoken"
            | b"api_key"
            | b"apikey"
            | b"x-api-key"
            | b"x_api_key"
            | b"authorization"
            | b"auth"
            | b"credentials"
            | b"cookie"
            | b"set-cookie"
            | b"set_cookie"
            | b"ssn"
            | b"social_security"
            | b"social_security_number"
            | b"credit_card"
            | b"credit_card_number"
            | b"card_number"
            | b"cvv"
            | b"cvc"
    )
}
