# For scripts in this folder: `start AUTH` installs MiniStack in target/, starts it on 127.0.0.1, stops it when the script
# ends, and sets `endpoint` to its URL. AUTH is `true` or `false`: whether it checks signatures and the CORS rules of
# buckets, as AWS does. PORT changes the port.

start() {
    local host=target/ci-ministack port=${PORT:-4598} work
    endpoint=http://127.0.0.1:$port
    if is_up; then
        echo "port $port is taken; set PORT" >&2
        return 1
    fi
    if ! "$host/bin/ministack" --help >/dev/null 2>&1; then
        python3 -m venv "$host"
        "$host/bin/pip" install --quiet --disable-pip-version-check -r tests/ministack/requirements.txt
    fi
    work=$(mktemp -d)
    # The credentials are those of every local stack.
    env AUTH="$1" AWS_ACCESS_KEY_ID=mpulse-local AWS_SECRET_ACCESS_KEY=mpulse-local-secret \
        GATEWAY_PORT="$port" BIND_HOST=127.0.0.1 AWS_ENDPOINT_URL="$endpoint" SERVICES=dynamodb,s3 \
        LOG_LEVEL=WARNING TMPDIR="$work" "$host/bin/python" -m ministack > "$work/log" 2>&1 &
    trap "kill $! 2>/dev/null || true; wait; rm -rf '$work'" EXIT
    for _ in $(seq 200); do
        is_up && return
        kill -0 $! || break
        sleep 0.1
    done
    cat "$work/log"
    return 1
}

is_up() { curl --silent --fail --output /dev/null "$endpoint/_ministack/health"; }
