# Two images of one tree: `server` serves and holds no policy engine; `policy` has OPA beside it, to compile, check and
# explain policies. compose.yaml builds both. Neither runs as root, and no builder but the classic one is needed.
ARG PYTHON_IMAGE=python:3.11-slim
ARG OPA_IMAGE=openpolicyagent/opa:1.22.2-static

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /opt/ostiary
ENV PATH=/opt/ostiary/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The dependencies first: they change less often than the code, and their layer is kept until they do.
COPY tools/requirements.txt tools/requirements-local.txt tools/
RUN pip install --quiet --require-hashes -r tools/requirements.txt
# `local` installs what runs models in the server; without it, the images stay some hundred megabytes smaller.
ARG EXTRAS=
RUN case "$EXTRAS" in \
        "") ;; \
        local) pip install --quiet --require-hashes -r tools/requirements-local.txt ;; \
        *) echo "EXTRAS is \`local\` or empty, not \`$EXTRAS\`" >&2; exit 1 ;; \
    esac
COPY pyproject.toml README.md LICENSE ./
COPY policy policy
COPY rego rego
COPY translators translators
COPY server server
RUN pip install --quiet --no-deps --no-build-isolation . && pip uninstall --quiet --yes pip setuptools

FROM ${PYTHON_IMAGE} AS server
# Threads of llama.cpp, which its package does not carry.
ARG EXTRAS=
RUN if [ "$EXTRAS" = local ]; then \
        apt-get update -q && apt-get install -q -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /opt/ostiary /opt/ostiary
COPY tools/docker/prepare tools/docker/serve /usr/local/bin/
# For checkouts that are closed to others. Then where volumes are mounted: an empty volume takes over the owner and the mode
# of the directory that it covers.
RUN chmod 0755 /usr/local/bin/prepare /usr/local/bin/serve; \
    for directory in /var/lib/ostiary /policy /secrets; do \
        mkdir -m 0700 "$directory" && chown 10001:10001 "$directory" || exit 1; \
    done
ENV PATH=/opt/ostiary/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OSTIARY_HOME=/var/lib/ostiary
WORKDIR /var/lib/ostiary
USER 10001:10001
EXPOSE 8321
ENTRYPOINT ["serve"]
CMD ["/etc/ostiary/config.yaml"]

FROM ${OPA_IMAGE} AS opa

FROM server AS policy
COPY --from=opa /opa /usr/local/bin/opa
ENTRYPOINT []
CMD ["prepare", "/etc/ostiary/config.yaml"]
