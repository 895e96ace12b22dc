#!/usr/bin/env bash
# Measures the decline report: the replay of the benchmark, and one day's report of a large program.
#
#   load-tests/decline/speed.sh [PARTNERS]      default: 100000
#
# TRIBUTARY     the binary; default: target/release/tributary (cargo build --release)
# DATABASE_URL  a database with the schema, whose program `speed` is made anew; by default
#               scratch engines are started and thrown away
# Needs psql, and for the replay what gate.sh needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
partners=${1:-100000}
tributary=$(realpath "${TRIBUTARY:-target/release/tributary}")
data=target/decline-bench/public-1
[ -e $data/series.csv ] || { echo "run load-tests/decline/gate.sh first: it makes $data" >&2; exit 2; }

# GNU time is not everywhere; the shell tells seconds, the kernel the peak of the memory.
measure() {
  local name=$1; shift
  local begun=$EPOCHREALTIME
  "$@"
  awk -v n="$name" -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%-52s %6.1f s\n", n, b - a }'
}

measure "replay, 2,000 partners x 400 days (limit 10 s)" \
  "$tributary" decline score --series $data --out target/decline-bench/speed.csv

if [ -z "${DATABASE_URL:-}" ]; then
  exec "$tributary" with-engines --database-url -- bash -c \
    'TRIBUTARY_MIGRATE_DATABASE_URL=$DATABASE_URL "$0" migrate && TRIBUTARY=$0 exec "$1" "$2"' "$tributary" "$PWD/load-tests/decline/speed.sh" "$partners"
fi

# One partner in twenty works for it: clicks on four days of five, in two hours, 1 to 400 a day.
# The others have a click on 3 % of their days. One busy partner in a hundred has stopped.
psql -qX -v ON_ERROR_STOP=1 -v partners="$partners" "$DATABASE_URL" <<'SQL'
select setseed(0.5) \gset
delete from click_hours where program_id in (select program_id from programs where slug = 'speed');
delete from enrollments where program_id in (select program_id from programs where slug = 'speed');
delete from partners where slug like 'speed-%';
delete from programs where slug = 'speed';
insert into programs (program_id, name, slug, currency, landing_template, created_at, updated_at)
values (gen_random_uuid(), 'Speed', 'speed', 'EUR', 'https://shop.test/', now(), now());
insert into partners (partner_id, name, slug, kind, created_at, updated_at)
select gen_random_uuid(), 'Partner ' || n, 'speed-' || n, 'webmaster', now(), now()
from generate_series(1, :partners) n;
insert into enrollments (program_id, partner_id, created_at, updated_at)
select g.program_id, p.partner_id, now(), now()
from programs g, partners p where g.slug = 'speed' and p.slug like 'speed-%';
create temp table sizes as
select p.partner_id, substr(p.slug, 7)::int as n, exp(random() * 6) as per_day
from partners p where p.slug like 'speed-%';
insert into click_hours (program_id, hour, partner_id, link_number, class, n_clicks, n_unique)
select g.program_id, date_trunc('day', now()) - d * interval '1 day' + h * interval '7 hours',
       s.partner_id, 1, 0, 1,
       case when s.n % 20 = 0 then 1 + floor(s.per_day * (0.25 + 0.5 * random()))::bigint else 1 end
from programs g, sizes s, generate_series(1, 400) d, generate_series(1, 2) h
where g.slug = 'speed'
  and case when s.n % 20 = 0 then random() < 0.8 and not (s.n % 2000 = 0 and d <= 20)
           else h = 1 and random() < 0.03 end;
analyze click_hours;
select count(*) as click_hours from click_hours h join programs g using (program_id) where g.slug = 'speed';
SQL

measure "one day's report, $partners partners (aim 5 s)" \
  "$tributary" decline report --program speed --format csv --out target/decline-bench/speed-report.csv
echo "listed: $(($(wc -l < target/decline-bench/speed-report.csv) - 1))"
