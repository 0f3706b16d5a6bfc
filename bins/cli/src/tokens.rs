//! The tokens of a server: `tokens`.

use crate::{
    args::{Exit, TokenArgs, TokenCommand},
    print,
    remote::Server,
    text,
};
use kiln::Result;
use reqwest::Method;
use serde::{Deserialize, Serialize};

const OP: &str = "kiln tokens";

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<Token>,
}

/// A token without its text.
#[derive(Deserialize, Serialize)]
struct Token {
    name: String,
    owner: String,
    scopes: Vec<String>,
}

/// A token with its text, which nobody is shown but who made it.
#[derive(Deserialize)]
struct Made {
    token: String,
}

pub(crate) async fn tokens(server: &Server, args: TokenArgs) -> Result<Exit> {
    match args.command {
        None | Some(TokenCommand::List) => list(server, args.json).await?,
        Some(TokenCommand::Create { name, owner, scopes }) => {
            let token = Token { name, owner, scopes };
            let answer = server.client.post(OP, &["tokens"], &token, None).await?;
            let Made { token: text } = server.client.json(OP, answer).await?;
            match args.json {
                true => {
                    let line = serde_json::json!({ "name": token.name, "token": text });
                    print::json("made", line);
                }
                false => print::result(text),
            }
        }
        Some(TokenCommand::Remove { name }) => {
            let request = server.client.request(Method::DELETE, &["tokens", &name]);
            server.client.send(OP, request).await?;
            match args.json {
                true => print::json("removed", serde_json::json!({ "token": name })),
                false => print::note(format!("token {name} is removed")),
            }
        }
    }
    Ok(Exit::Fine)
}

async fn list(server: &Server, json: bool) -> Result<()> {
    let Tokens { tokens } = server.client.get(OP, &["tokens"], &[]).await?;
    if json {
        tokens.iter().for_each(|token| print::json("token", token));
        return Ok(());
    }
    if tokens.is_empty() {
        print::note("the server has no tokens; it answers its own machine only");
    }
    for Token { name, owner, scopes } in &tokens {
        let line = format!("{name}\t{owner}\t{}", scopes.join(","));
        print::result(text::plain(&line));
    }
    Ok(())
}
