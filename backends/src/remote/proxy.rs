//! The proxy that the environment names: where a connection fails it is the first suspect, and the error of the connection does not
//! name it.

use std::env;

use url::Url;

/// What to say of a connection to `server` that failed: which proxy it went through. `None`: it went through none.
pub(crate) fn suspect(server: &Url) -> Option<String> {
    suspect_in(server, &|name| env::var(name).ok())
}

fn suspect_in(server: &Url, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name: &'static str| {
        let value = variable(name).filter(|value| !value.trim().is_empty())?;
        Some((name, value))
    };
    let of_scheme = match server.scheme() {
        "https" => set("HTTPS_PROXY").or_else(|| set("https_proxy")),
        _ => set("HTTP_PROXY").or_else(|| set("http_proxy")),
    };
    let (name, value) = of_scheme
        .or_else(|| set("ALL_PROXY"))
        .or_else(|| set("all_proxy"))?;
    let none = set("NO_PROXY").or_else(|| set("no_proxy"));
    if none.is_some_and(|(_, hosts)| is_exempt(server.host_str().unwrap_or_default(), &hosts)) {
        return None;
    }
    Some(format!(
        "the connection goes through the proxy {} that {name} names: check that it runs, or put the host into NO_PROXY",
        shown(&value)
    ))
}

/// Whether `host` is in a list as NO_PROXY holds it.
fn is_exempt(host: &str, list: &str) -> bool {
    list.split(',').map(str::trim).any(|name| {
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        let below = |host: &str| {
            host.strip_suffix(name)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        name == "*" || (!name.is_empty() && (host == name || below(host)))
    })
}

/// Host and port of a proxy: its address may hold a password.
fn shown(address: &str) -> String {
    let url = Url::parse(address).ok().filter(Url::has_host);
    let url = url.or_else(|| Url::parse(&format!("http://{address}")).ok());
    let place = url
        .as_ref()
        .and_then(|url| Some((url.host_str()?, url.port())));
    match place {
        Some((host, Some(port))) => format!("{host}:{port}"),
        Some((host, None)) => host.to_owned(),
        None => "(no address)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(server: &str, set: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        suspect_in(&Url::parse(server).unwrap(), &variable)
    }

    #[test]
    fn the_proxy_is_named_without_its_password() {
        let text = of(
            "https://h:9000/",
            &[("HTTPS_PROXY", "http://ann:hush@p:3128")],
        )
        .unwrap();
        assert!(
            text.contains("proxy p:3128 that HTTPS_PROXY names"),
            "{text}"
        );
        assert!(!text.contains("hush") && !text.contains("ann"), "{text}");
        for odd in ["ann:hush@p:3128", "p:3128", "p"] {
            let text = of("http://h", &[("http_proxy", odd)]).unwrap();
            assert!(
                text.contains("proxy p") && text.contains("http_proxy"),
                "{text}"
            );
            assert!(!text.contains("hush"), "{text}");
        }
        assert!(of("http://h", &[("ALL_PROXY", "socks5://p:1080")]).is_some());
    }

    #[test]
    fn without_a_proxy_for_this_server_nobody_is_suspected() {
        assert_eq!(of("http://h", &[]), None);
        assert_eq!(of("http://h", &[("HTTP_PROXY", " ")]), None);
        assert_eq!(of("http://h", &[("HTTPS_PROXY", "p:1")]), None);
        for exempt in [
            "a.example.org",
            "example.org",
            ".example.org",
            "x, *.example.org",
            "*",
        ] {
            let set = [("HTTP_PROXY", "p:1"), ("NO_PROXY", exempt)];
            assert_eq!(of("http://a.example.org", &set), None, "{exempt}");
        }
        let set = [("HTTP_PROXY", "p:1"), ("no_proxy", "ample.org,")];
        assert!(of("http://a.example.org", &set).is_some());
    }
}
