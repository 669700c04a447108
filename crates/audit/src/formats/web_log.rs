//! Lines of the logs of web servers, in the form that Apache calls combined and nginx writes too.

use super::time;
use crate::traces::WebSign;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request<'l> {
    pub(crate) from: &'l str,
    /// Seconds since 1970-01-01 UTC.
    pub(crate) at: Option<i64>,
    pub(crate) method: &'l str,
    pub(crate) target: &'l str,
    pub(crate) status: u16,
}

/// `192.0.2.7 - - [27/Feb/2018:03:11:04 +0900] "GET / HTTP/1.1" 200 5 "-" "curl"`, with the name of
/// a site before it or without.
pub(crate) fn request(line: &str) -> Option<Request<'_>> {
    let (head, rest) = line.split_once(" [")?;
    let (when, rest) = rest.split_once("] \"")?;
    // Who is asked for, the user and the client's own name stand before the user's two words.
    let mut words = head.rsplit(' ').skip(2);
    let from = words.next().or_else(|| head.split(' ').next())?;
    let (request, rest) = rest.split_once("\" ")?;
    let mut parts = request.split(' ');
    let (method, target) = (parts.next()?, parts.next().unwrap_or_default());
    let status = rest.split(' ').next()?.parse().ok()?;
    let from = if from.is_empty() { head.split(' ').next()? } else { from };
    Some(Request { from, at: at(when), method, target, status })
}

/// `27/Feb/2018:03:11:04 +0900`
fn at(when: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = when.splitn(3, '/');
    let (day, month, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (year, clock) = rest.split_once(':')?;
    let (clock, offset) = time::read(&format!("{year}-{month:02}-{day} {clock}"))?;
    Some(clock - i64::from(offset?))
}

/// Whether this asks a page of log-ins to let somebody in.
pub(crate) fn is_login(request: &Request<'_>) -> bool {
    let path = request.target.split('?').next().unwrap_or_default();
    let pages = ["/wp-login.php", "/xmlrpc.php", "/administrator/index.php", "/user/login"];
    request.method == "POST" && pages.iter().any(|page| path.ends_with(page))
}

/// What an answered request was after, if it was nothing good.
pub(crate) fn sign(request: &Request<'_>) -> Option<WebSign> {
    if request.status != 200 {
        return None;
    }
    let target = request.target.to_ascii_lowercase();
    let path = target.split('?').next().unwrap_or_default();
    let secrets = ["/.env", "/.git/config", "/wp-config.php.bak", "/.aws/credentials", "/id_rsa"];
    if secrets.iter().any(|end| path.ends_with(end)) {
        return Some(WebSign::Leak);
    }
    let script = [".php", ".phtml", ".php5", ".jsp", ".cgi"].iter().any(|end| path.ends_with(end));
    let uploads = ["/uploads/", "/upload/", "/images/", "/cache/", "/tmp/"];
    if request.method == "POST" && script && uploads.iter().any(|part| path.contains(part)) {
        return Some(WebSign::Upload);
    }
    const COMMANDS: [&str; 13] = [
        "?cmd=",
        "&cmd=",
        "?exec=",
        "&exec=",
        ";wget",
        ";curl",
        "|sh",
        "%7csh",
        "${jndi:",
        "%24%7bjndi",
        "/bin/sh",
        "allow_url_include",
        "eval(base64",
    ];
    COMMANDS.iter().any(|word| target.contains(word)).then_some(WebSign::Command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &str, status: u16) -> String {
        format!("192.0.2.7 - - [27/Feb/2018:12:11:04 +0900] \"{request}\" {status} 5 \"-\" \"x\"")
    }

    #[test]
    fn lines_of_the_combined_form() {
        let line = line("GET /a?b=c HTTP/1.1", 200);
        let found = request(&line).unwrap();
        assert_eq!((found.from, found.method, found.target), ("192.0.2.7", "GET", "/a?b=c"));
        assert_eq!((found.at, found.status), (Some(1_519_701_064), 200));
        let named = format!("www.example:80 {line}");
        assert_eq!(request(&named).unwrap().from, "192.0.2.7");
        for bad in ["", "[", "x [y] \"z", "a b c [x] \"GET\" no", "\u{1b}[31m [] \"\" 1"] {
            _ = request(bad);
        }
    }

    #[test]
    fn what_was_answered_counts_and_what_was_refused_does_not() {
        let of = |request_line: &str, status| sign(&request(&line(request_line, status)).unwrap());
        assert_eq!(of("GET /.env HTTP/1.1", 200), Some(WebSign::Leak));
        assert_eq!(of("GET /.env HTTP/1.1", 404), None);
        assert_eq!(of("POST /wp-content/uploads/a.php HTTP/1.1", 200), Some(WebSign::Upload));
        assert_eq!(of("GET /wp-content/uploads/a.jpg HTTP/1.1", 200), None);
        assert_eq!(of("GET /x.php?cmd=id HTTP/1.1", 200), Some(WebSign::Command));
        assert_eq!(of("GET /shop?q=curl HTTP/1.1", 200), None);
    }
}
