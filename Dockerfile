# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /src
# Queries are checked against .sqlx: a build needs no database.
ENV SQLX_OFFLINE=true
COPY . .
# The target folder is a cache and not part of the layer, so what is needed later is moved out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tributary \
    && install -D target/release/tributary /out/tributary \
    && install -d -m 0700 /out/data/spool

# No shell and no package manager: what is not there needs no patch and helps no intruder.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/tributary /usr/local/bin/tributary
# A new volume takes its owner from this folder; 65532 is the image's `nonroot`.
COPY --from=build --chown=65532:65532 /out/data /var/lib/tributary
ENV TRIBUTARY_SPOOL_DIR=/var/lib/tributary/spool \
    TRIBUTARY_SNAPSHOT_PATH=/var/lib/tributary/snapshot.json \
    TRIBUTARY_LOG_FORMAT=json
# The spool holds accepted events while Redis is down: it must outlive the container.
VOLUME ["/var/lib/tributary"]
USER 65532:65532
EXPOSE 8080 9090
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/tributary", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tributary"]
CMD ["serve"]
