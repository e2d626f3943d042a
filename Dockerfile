# chat-server, from source. Build: docker build -t chat-server .
# Run: see docs/operations.md, "Docker". Debian's release is the same in both stages, so that the C library fits.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --package server \
    && install -D --mode=0755 --strip target/release/chat-server /out/chat-server

FROM debian:bookworm-slim
# Certificate authorities, for a JWKS by https and for `chat-server check` of an https URL: always the newest.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 chat-server \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/chat-server --shell /usr/sbin/nologin chat-server \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/chat-server
COPY --from=build /out/chat-server /usr/local/bin/chat-server
# By number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
# The only place that is written to: everything else may be read-only (docker run --read-only).
VOLUME /var/lib/chat-server
WORKDIR /var/lib/chat-server
ENV CHAT_LISTEN=0.0.0.0:3000 \
    CHAT_DATA_DIR=/var/lib/chat-server
EXPOSE 3000
# Ends every connection so that its client comes back; the process ends within shutdown.timeout (10 s), so give it more.
STOPSIGNAL SIGTERM
# Handshakes by both transports, shards and store. Without a token: no user sees it come and go, and it writes no message.
# CHAT_LISTEN may name another port: then set --health-cmd too.
# It finds http.admin_listen where a variable names that, or a file that CHAT_CONFIG names.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 \
    CMD ["chat-server", "check", "http://127.0.0.1:3000", "--no-token", "--timeout", "2s"]
ENTRYPOINT ["chat-server"]
