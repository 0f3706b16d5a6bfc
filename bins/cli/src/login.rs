//! Tokens for servers: `login`, `logout`.

use crate::{
    args::{Exit, LoginArgs, ServerArgs},
    print,
    remote::{Address, Keyring, Server, Whoami, checked, read_token},
};
use console::Term;
use kiln::{Error, ErrorKind, Result, Secret};
use std::io::{self, IsTerminal, Read};

/// More than any token has.
const INPUT_BYTES_MAX: u64 = 8192;

pub(crate) async fn login(place: &ServerArgs, args: LoginArgs) -> Result<Exit> {
    let address = address(place, &args)?;
    let token = match &place.token_file {
        Some(file) => read_token(file)?,
        None => ask(&address)?,
    };
    let server = Server::at(address.clone(), Some(token.clone()), place.insecure)?;
    let who = server.whoami().await?;
    Keyring::of_user()?.keep(&address, &token)?;
    if args.json {
        let Whoami { owner, scopes, .. } = &who;
        let line = serde_json::json!({
            "server": address.name(), "owner": owner, "scopes": scopes,
        });
        print::json("login", line);
    } else {
        print::note(format!("logged in to {} as {}", address.name(), who.says()));
    }
    Ok(Exit::Fine)
}

pub(crate) fn logout(place: &ServerArgs, args: &LoginArgs) -> Result<Exit> {
    let address = address(place, args)?;
    let had = Keyring::of_user()?.forget(&address)?;
    let server = address.name();
    if args.json {
        print::json("logout", serde_json::json!({ "server": server, "forgotten": had }));
    } else {
        print::note(match had {
            true => format!("the token for {server} is forgotten; the server still knows it"),
            false => format!("no token was kept for {server}"),
        });
    }
    Ok(Exit::Fine)
}

fn address(place: &ServerArgs, args: &LoginArgs) -> Result<Address> {
    let text = args.url.as_deref().or(place.server.as_deref()).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "kiln login", "no server is named")
            .hint("Write `kiln login https://kiln.example.com`.")
    })?;
    Address::parse(text)
}

/// Reads a token from standard input: without showing it, where that is a terminal.
fn ask(address: &Address) -> Result<Secret> {
    let wrong = |e: io::Error| {
        Error::new(ErrorKind::Unexpected, "kiln login", "the token cannot be read")
            .source(e.to_string())
    };
    let mut text = Vec::new();
    if io::stdin().is_terminal() {
        print::note(format!("Token for {} (it is not shown):", address.name()));
        text = Term::stderr().read_secure_line().map_err(wrong)?.into_bytes();
    } else {
        io::stdin().take(INPUT_BYTES_MAX).read_to_end(&mut text).map_err(wrong)?;
    }
    checked(&text, "standard input")
}
