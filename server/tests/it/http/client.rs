//! A small HTTP client: requests over connections that are kept, in either version, with or without TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The body of a request.
pub(crate) type Payload = BoxBody<Bytes, Infallible>;

/// A body that is there.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Payload {
    Full::new(bytes.into()).boxed()
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) struct Lost(pub(crate) String);

fn lost(why: impl std::fmt::Display) -> Lost {
    Lost(why.to_string())
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The status and the name of the problem; empty where it is none.
    pub(crate) fn problem(&self) -> (u16, String) {
        let is_problem = self.header("content-type") == Some("application/problem+json");
        let name = is_problem.then(|| self.json()["name"].as_str().unwrap().to_owned());
        (self.status.as_u16(), name.unwrap_or_default())
    }
}

#[derive(Debug)]
enum Sender {
    One(http1::SendRequest<Payload>),
    Two(http2::SendRequest<Payload>),
}

/// A client of one server.
#[derive(Clone)]
pub(crate) struct Http {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    http2: bool,
    token: Option<String>,
    idle: Arc<Mutex<Vec<Sender>>>,
}

impl Http {
    /// Speaks HTTP/1.1, plain, and says nothing of who asks.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, tls: None, http2: false, token: None, idle: Arc::default() }
    }

    /// In HTTP/2, without asking first whether that is spoken.
    pub(crate) fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// As who has this token.
    pub(crate) fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Over TLS, trusting this certificate alone, in the version that was said before.
    pub(crate) fn tls(self, certificate: CertificateDer<'static>) -> Self {
        self.over_tls(certificate, None)
    }

    /// The same, showing a certificate of one's own.
    pub(crate) fn tls_showing(
        self,
        certificate: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        self.over_tls(certificate, Some((chain, key)))
    }

    fn over_tls(
        mut self,
        certificate: CertificateDer<'static>,
        shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
            None => config.with_no_client_auth(),
        };
        let protocol: &[u8] = if self.http2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        self.tls = Some(TlsConnector::from(Arc::new(config)));
        self
    }

    async fn connect(&self) -> Result<Sender, Lost> {
        let stream = TcpStream::connect(self.address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        match &self.tls {
            None => self.handshake(stream).await,
            Some(tls) => {
                let name = ServerName::try_from("localhost").unwrap();
                let stream = tls.connect(name, stream).await.map_err(lost)?;
                let spoken = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                let wanted: &[u8] = if self.http2 { b"h2" } else { b"http/1.1" };
                assert_eq!(spoken.as_deref(), Some(wanted));
                self.handshake(stream).await
            }
        }
    }

    async fn handshake<S>(&self, stream: S) -> Result<Sender, Lost>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = TokioIo::new(stream);
        if self.http2 {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.map_err(lost)?;
            tokio::spawn(connection);
            return Ok(Sender::Two(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(lost)?;
        tokio::spawn(connection);
        Ok(Sender::One(sender))
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap();
        match idle.last() {
            // Many requests share a connection.
            Some(Sender::Two(sender)) if !sender.is_closed() => Some(Sender::Two(sender.clone())),
            _ => idle.pop(),
        }
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap();
        let is_kept = matches!(sender, Sender::Two(_)) && !idle.is_empty();
        if !is_kept {
            idle.push(sender);
        }
    }

    /// Sends a request; the answer's body is still to come. The connection of one that is read to its end
    /// is kept by [`Ask::send`] only.
    async fn request(
        &self,
        request: Request<Payload>,
    ) -> Result<(Response<Incoming>, Sender), Lost> {
        let mut request = request;
        loop {
            let kept = self.kept();
            let was_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            let answer = match &mut sender {
                Sender::One(sender) => sender.try_send_request(request).await,
                Sender::Two(sender) => sender.try_send_request(request).await,
            };
            match answer {
                Ok(answer) => return Ok((answer, sender)),
                Err(mut error) => match error.take_message() {
                    // It was not sent: a connection that was kept had ended meanwhile.
                    Some(unsent) if was_kept => request = unsent,
                    _ => return Err(lost(error.into_error())),
                },
            }
        }
    }

    pub(crate) fn ask(&self, method: Method, path: impl Into<String>) -> Ask {
        let mut ask = Ask {
            http: self.clone(),
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: full(""),
        };
        ask.headers.insert(header::HOST, self.address.to_string().parse().unwrap());
        if let Some(token) = &self.token {
            ask = ask.header("authorization", &format!("Bearer {token}"));
        }
        ask
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Ask {
        self.ask(Method::GET, path)
    }

    /// Asks until the answer is as is wanted, which it is soon.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let asked = async {
            loop {
                last = self.get(path).send().await.unwrap().json();
                if wanted(&last) {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), asked).await;
        assert!(in_time.is_ok(), "{path}: {last}");
        last
    }

    pub(crate) fn post(&self, path: impl Into<String>, json: &Value) -> Ask {
        self.ask(Method::POST, path).json(json)
    }

    /// Appends an event to a stream, and answers with its position.
    pub(crate) async fn append(&self, stream: &str, event: &Value) -> u64 {
        let path = format!("/v1/streams/{}/events", encoded(stream));
        let answer = self.post(path, &serde_json::json!([event])).send().await.unwrap();
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["first_position"].as_u64().unwrap()
    }
}

/// A request that is being written.
#[must_use]
pub(crate) struct Ask {
    http: Http,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Payload,
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.insert(name, header::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    /// The same header once more.
    pub(crate) fn also(mut self, name: &str, value: &str) -> Self {
        let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub(crate) fn json(self, json: &Value) -> Self {
        self.body("application/json", full(json.to_string()))
    }

    pub(crate) fn body(mut self, media_type: &str, body: Payload) -> Self {
        self.body = body;
        self.header("content-type", media_type)
    }

    async fn start(self) -> Result<(Http, Response<Incoming>, Sender), Lost> {
        let uri = match self.http.http2 {
            false => self.path,
            true => {
                let host = self.headers[header::HOST].to_str().unwrap();
                let scheme = if self.http.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{host}{}", self.path)
            }
        };
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri.parse::<Uri>().map_err(lost)?;
        *request.headers_mut() = self.headers;
        if self.http.http2 {
            request.headers_mut().remove(header::HOST);
        }
        let (answer, sender) = self.http.request(request).await?;
        Ok((self.http, answer, sender))
    }

    /// Sends it, and answers as soon as the head of the answer is there.
    pub(crate) async fn open(self) -> Result<Response<Incoming>, Lost> {
        let (http, answer, sender) = self.start().await?;
        if let Sender::Two(_) = sender {
            http.keep(sender);
        }
        Ok(answer)
    }

    /// Sends it, and waits for the whole answer.
    pub(crate) async fn send(self) -> Result<Answer, Lost> {
        let (http, answer, sender) = self.start().await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        http.keep(sender);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// Percent-encodes all but what needs it nowhere.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A body that is split into lines as it comes.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    begun: BytesMut,
}

impl Lines {
    pub(crate) fn into_body(self) -> Incoming {
        self.body
    }

    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, begun: BytesMut::new() }
    }

    /// The next line without its end; `None` at the end of the body. Half a line is none.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Lost> {
        loop {
            if let Some(at) = self.begun.iter().position(|byte| *byte == b'\n') {
                let mut line = self.begun.split_to(at + 1);
                line.truncate(at);
                return Ok(Some(line.freeze()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(why)) => return Err(lost(why)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.begun.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

/// A server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    /// Empty for one without a name.
    pub(crate) event: String,
    pub(crate) data: String,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// Server-sent events, as the standard says that they are read.
#[derive(Debug)]
pub(crate) struct Messages(Lines);

impl Messages {
    pub(crate) fn new(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self(Lines::new(answer.into_body()))
    }

    /// The next message that has data; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Lost> {
        let mut message = Message::default();
        while let Some(line) = self.0.next().await? {
            let line = std::str::from_utf8(&line).unwrap();
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "id" => message.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut message.event),
                "data" => message.data.push_str(value),
                "" if !message.data.is_empty() => return Ok(Some(message)),
                "" | "retry" => {}
                other => panic!("no field of server-sent events: {other:?}"),
            }
        }
        Ok(None)
    }

    /// The next message, which must come.
    pub(crate) async fn expect(&mut self) -> Message {
        self.next().await.unwrap().expect("a stream of events goes on")
    }
}
