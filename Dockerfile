# The official image of PostgreSQL with ecto_job. Build the packages first, in the same release of Debian (make deb):
#     docker build -t ecto_job --build-arg PG=17-trixie .
ARG PG=17-trixie
FROM postgres:${PG}
COPY build/deb/*.deb /tmp/ecto_job/
RUN apt-get update && \
    apt-get install -y --no-install-recommends /tmp/ecto_job/postgresql-${PG_MAJOR}-ecto-job_*.deb /tmp/ecto_job/ecto-job-consumer_*.deb && \
    rm -rf /var/lib/apt/lists/* /tmp/ecto_job
# Each database directory that the image makes gets its settings from this file
RUN echo "shared_preload_libraries = 'ecto_job'" >>/usr/share/postgresql/postgresql.conf.sample
