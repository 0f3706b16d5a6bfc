# kiln-agent, built on this machine before: cargo build --release -p kiln-agent
# The base has to have a C library at least as new as that machine's.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -m 0700 /var/lib/kiln-agent
ARG BINARY=target/release/kiln-agent
COPY ${BINARY} /usr/local/bin/kiln-agent
ENV KILN_DATA=/var/lib/kiln-agent
STOPSIGNAL SIGTERM
# As root: it talks to a Docker engine, which is the same, and removes what boxes wrote as any user.
ENTRYPOINT ["/usr/local/bin/kiln-agent"]
