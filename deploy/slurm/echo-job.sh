# shellcheck shell=bash
# The part that echo-load.sbatch and echo-pairs.sbatch have in common. They source this file in the job.

usage_error() {
  echo "error: $1" >&2
  exit 2
}

# Why the merged report is not a valid report of the whole load, a sentence each.
problems=()
problem() {
  echo "error: $1" >&2
  problems+=("$1")
}

# log_end FILE...: the last lines of these logs, for the reader of the job's output.
log_end() {
  local file
  for file in "$@"; do
    [ -s "$file" ] || continue
    echo "  the end of $file:" >&2
    tail -n 8 "$file" | sed 's/^/    /' >&2
  done
}

join() {
  local IFS=,
  echo "$*"
}

# run_job SERVERS OUTPUT_FOLDER BENCH-OPTIONS...: the first nodes are the servers, all others the loaders.
run_job() {
  local n_servers=$1
  [ $# -ge 2 ] || usage_error 'write an output folder: sbatch SCRIPT OUTPUT_FOLDER BENCH-OPTIONS...'
  export OUT=$2 MIO_ECHO=${MIO_ECHO:-mio-echo} PORT=${PORT:-7007}
  shift 2
  mkdir -p "$OUT"
  # A report of an earlier job must not pass as one of this job.
  rm -f "$OUT"/load.*.{json,log} "$OUT"/server.*.{out,log} "$OUT"/merged.{json,txt}

  servers=("${nodes[@]:0:n_servers}")
  loaders=("${nodes[@]:n_servers}")
  TARGETS=''
  for node in "${servers[@]}"; do
    # The address that Slurm itself uses. The names of nodes need not resolve.
    address=$(scontrol show node "$node" -o | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p') || true
    if [ -z "$address" ]; then
      echo "error: Slurm has no address of node $node: see scontrol show node $node" >&2
      exit 20
    fi
    TARGETS+="$address:$PORT "
  done
  export TARGETS

  start_servers
  run_loaders "$@"
  stop_servers
  find_missing_reports
  merge_reports
}

# Each task's place in its step (SLURM_PROCID) selects its target: server i of the servers, and for loader i server i
# modulo the number of servers.
start_servers() {
  # --kill-on-bad-exit and --wait: if one of several servers ends, the step ends. A job with fewer servers measures
  # something else.
  srun --overlap -N"${#servers[@]}" -n"${#servers[@]}" -w "$(join "${servers[@]}")" --kill-on-bad-exit=1 --wait=10 \
    --output "$OUT/server.%N.out" --error "$OUT/server.%N.log" \
    bash -c 'targets=($TARGETS); exec "$MIO_ECHO" serve "${targets[SLURM_PROCID]}" --json' &
  server_step=$!
  local node deadline=$((SECONDS + 30))
  for node in "${servers[@]}"; do
    # The server prints this line when it accepts connections.
    until grep -qs '^listening' "$OUT/server.$node.out"; do
      if ! kill -0 "$server_step" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
        echo "error: the server on $node did not start" >&2
        log_end "$OUT/server.$node.log"
        exit 20
      fi
      sleep 0.05
    done
  done
}

run_loaders() {
  # `bench` refuses to start late. So a loader that Slurm started too late writes no report.
  START_AT=$(date -u -d "+${START_IN:-5} seconds" +%Y-%m-%dT%H:%M:%SZ)
  export START_AT
  # --kill-on-bad-exit=0: a loader that fails (for example exit code 4: its report is invalid) does not end the others.
  srun --overlap -N"${#loaders[@]}" -n"${#loaders[@]}" -w "$(join "${loaders[@]}")" --kill-on-bad-exit=0 \
    --output "$OUT/load.%N.log" bash -c 'targets=($TARGETS)
      exec "$MIO_ECHO" bench "${targets[SLURM_PROCID % ${#targets[@]}]}" "$@" --start-at "$START_AT" \
        --seed $((1 + SLURM_PROCID)) --json "$OUT/load.$SLURMD_NODENAME.json"' bench "$@" &
  load_step=$!
  server_ended=0
  # Returns when one of the two steps ends.
  wait -n "$server_step" "$load_step" || true
  if ! kill -0 "$server_step" 2>/dev/null; then
    server_ended=1
    signal_step 1
  fi
  load_code=0
  wait "$load_step" || load_code=$?
}

# signal_step STEP: sends SIGINT to the processes of this step, and not to its srun. SIGTERM to srun would end the step
# before the server has closed its connections. Slurm 22.05 prints "Invalid job id", and sends the signal all the same.
signal_step() {
  scancel --signal=INT "$SLURM_JOB_ID.$1" 2>/dev/null || true
}

stop_servers() {
  [ "$server_ended" -eq 1 ] || signal_step 0
  local code=0
  wait "$server_step" || code=$?
  if [ "$server_ended" -eq 1 ]; then
    problem "a server on $(join "${servers[@]}") ended before the loaders"
  elif [ "$code" -ne 0 ]; then
    problem "a server on $(join "${servers[@]}") failed with exit code $code"
  else
    return 0
  fi
  server_ended=1
  local node
  for node in "${servers[@]}"; do log_end "$OUT/server.$node.log"; done
}

find_missing_reports() {
  reports=()
  local node
  for node in "${loaders[@]}"; do
    if [ -s "$OUT/load.$node.json" ]; then
      reports+=("$OUT/load.$node.json")
    else
      problem "the report of loader $node is missing"
      log_end "$OUT/load.$node.log"
    fi
  done
}

merge_reports() {
  local code=0 merged=$OUT/merged.json
  if [ "${#reports[@]}" -ge 2 ]; then
    "$MIO_ECHO" merge "${reports[@]}" --json "$merged" >"$OUT/merged.txt" || code=$?
  elif [ "${#reports[@]}" -eq 1 ]; then
    # `merge` needs two reports. The report of a single loader is that of the whole.
    cp "${reports[0]}" "$merged"
    code=$load_code
  fi

  if [ "${#problems[@]}" -gt 0 ]; then
    mark_invalid "$merged"
    [ "$server_ended" -eq 1 ] && exit 20
    exit 21
  fi
  [ -s "$OUT/merged.txt" ] && cat "$OUT/merged.txt"
  # A --fail-if condition is about one loader, and `merge` does not know it.
  if [ "$code" -eq 0 ] && [ "$load_code" -ne 0 ]; then
    echo "error: a loader ended with exit code $load_code: see $OUT/load.*.log" >&2
    code=$load_code
  fi
  exit "$code"
}

# mark_invalid FILE: writes the problems into the merged report. `merge` knows only the reports that are there, and may
# call an incomplete load valid.
mark_invalid() {
  local sentence reasons=''
  for sentence in "${problems[@]}"; do reasons+="\"$sentence\", "; done
  reasons=${reasons%, }
  rm -f "$OUT/merged.txt"
  if [ ! -s "$1" ]; then
    echo 'no merged report: there is nothing to merge, or merge refused it' >&2
    return
  fi
  # The validity of the report, and of each of its runs: { "verdict": "…", "reasons": [ … ], "notes": [ … ] }.
  sed -e '/^ *"validity": {/,/^ *}/ {' -e 's/"verdict": "[a-z]*"/"verdict": "invalid"/' \
    -e "s|\"reasons\": \\[\\]|\"reasons\": [$reasons]|" -e "s|\"reasons\": \\[\$|&$reasons,|" -e '}' "$1" >"$1.new"
  if ! grep -qF "$reasons" "$1.new"; then
    rm -f "$1" "$1.new"
    echo 'no merged report: its validity was not found' >&2
    return
  fi
  mv "$1.new" "$1"
  echo "INVALID: $1 is the report of ${#reports[@]} of ${#loaders[@]} loaders" >&2
}

[ -n "${SLURM_JOB_NODELIST:-}" ] || usage_error 'this is not a Slurm job: use sbatch'
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
