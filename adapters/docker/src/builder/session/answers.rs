//! The small answers of a session: it is well, a secret, a login.

use async_trait::async_trait;
use bollard::{
    auth::DockerCredentials,
    health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus, health_server::Health,
    },
    moby::{
        buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse, secrets_server::Secrets},
        filesync::v1::{
            CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
            GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
            VerifyTokenAuthorityResponse, auth_server::Auth,
        },
    },
};
use futures::stream::BoxStream;
use kiln::secret::Secret;
use std::collections::{BTreeMap, HashMap};
use tonic::{Request, Response, Status};

/// Says that the session is alive, for as long as it is.
#[derive(Debug)]
pub(super) struct Healthy;

#[async_trait]
impl Health for Healthy {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("ask for `Check`"))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask for `Check`"))
    }
}

/// The secrets of one build, by the id that its recipe uses.
#[derive(Debug)]
pub(super) struct Vault(pub(super) BTreeMap<String, Secret>);

#[async_trait]
impl Secrets for Vault {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.get(id) {
            Some(secret) => Ok(Response::new(GetSecretResponse { data: secret.expose().into() })),
            None => Err(Status::not_found(format!("the build has no secret with the id {id}"))),
        }
    }
}

/// The registry logins of one build, by host. Only an equal host gets one.
#[derive(Debug)]
pub(super) struct Logins(pub(super) HashMap<String, DockerCredentials>);

#[async_trait]
impl Auth for Logins {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = &request.get_ref().host;
        let Some(login) = self.0.get(host) else {
            // Without a login the engine asks the registry as anybody would.
            return Ok(Response::new(CredentialsResponse::default()));
        };
        let answer = match &login.identitytoken {
            // No name beside it says that it is a token.
            Some(token) => CredentialsResponse { username: String::new(), secret: token.clone() },
            None => CredentialsResponse {
                username: login.username.clone().unwrap_or_default(),
                secret: login.password.clone().unwrap_or_default(),
            },
        };
        Ok(Response::new(answer))
    }

    // The engine fetches tokens itself when these are not there.

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("ask for `Credentials`"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("ask for `Credentials`"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("ask for `Credentials`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_login_goes_to_just_its_host() {
        let token = DockerCredentials { identitytoken: Some("t".into()), ..Default::default() };
        let login = DockerCredentials {
            username: Some("bob".into()),
            password: Some("p".into()),
            ..Default::default()
        };
        let logins = Logins([("r.io".to_owned(), login), ("t.io".to_owned(), token)].into());
        let ask = async |host: &str| {
            let request = Request::new(CredentialsRequest { host: host.into() });
            let answer = logins.credentials(request).await.unwrap().into_inner();
            (answer.username, answer.secret)
        };
        assert_eq!(ask("r.io").await, ("bob".into(), "p".into()));
        assert_eq!(ask("t.io").await, (String::new(), "t".into()));
        for other in ["r.io:443", "evil-r.io", "r.io.evil", "io", ""] {
            assert_eq!(ask(other).await, Default::default(), "{other}");
        }
    }

    #[tokio::test]
    async fn a_secret_has_just_its_id() {
        let vault = Vault([("npm".to_owned(), Secret::new("hunter2"))].into());
        let ask = async |id: &str| {
            let id = id.to_owned();
            vault.get_secret(Request::new(GetSecretRequest { id, ..Default::default() })).await
        };
        assert_eq!(ask("npm").await.unwrap().into_inner().data, b"hunter2");
        let refused = ask("np").await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        assert!(!format!("{vault:?}{refused:?}").contains("hunter2"));
    }
}
