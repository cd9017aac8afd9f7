# syntax=docker/dockerfile:1
# Keyward as an image: the binary, the certificates of the public authorities, an empty state folder; no root, no shell needed.
#   docker build -t keyward .
# Both stages are of one Debian release, so that the binary meets the C library that it was linked with.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package keyward
# The last stage runs nothing, so the folder with its owner is made here.
RUN install -D -m 0755 target/release/keyward /out/usr/bin/keyward \
    && install -d -m 0700 /out/var/lib/keyward

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="keyward" \
      org.opencontainers.image.description="Rotates secrets held in HashiCorp Vault and watches its audit log" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/usr/bin/keyward /usr/bin/keyward
COPY --from=build --chown=65532:65532 /out/var/lib/keyward /var/lib/keyward
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
VOLUME /var/lib/keyward
EXPOSE 9120
# Whether the daemon lives. A sealed Vault does not make it unhealthy: restarting Keyward would not unseal it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/bin/keyward", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/keyward"]
CMD ["serve"]
