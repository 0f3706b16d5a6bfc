# kiln-server, built on this machine before: cargo build --release -p kiln-server
# The base has to have a C library at least as new as that machine's.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 7070 kiln \
    && useradd --uid 7070 --gid 7070 --home-dir /var/lib/kiln --shell /usr/sbin/nologin kiln \
    && install -d -m 0700 -o kiln -g kiln /var/lib/kiln
ARG BINARY=target/release/kiln-server
COPY ${BINARY} /usr/local/bin/kiln-server
ENV KILN_DATA=/var/lib/kiln
VOLUME /var/lib/kiln
USER 7070:7070
EXPOSE 7070
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/kiln-server"]
