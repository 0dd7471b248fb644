# syntax=docker/dockerfile:1
# A web server for whoever brings a stage `site`: what it serves and how comes with the image that is made from this one.

ARG BASE=base
FROM ${BASE}
LABEL maintainer="The Web Team <web@example.org>"
RUN set -x \
    && apt-get update \
    && apt-get install --no-install-recommends --no-install-suggests -y nginx-light \
    && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled/default \
# Requests and errors go where the engine collects what containers say.
    && ln -sf /dev/stdout /var/log/nginx/access.log \
    && ln -sf /dev/stderr /var/log/nginx/error.log \
    && mkdir /docker-entrypoint.d
COPY --chmod=0755 <<"EOF" /docker-entrypoint.sh
#!/bin/sh
set -e
if [ "$1" = nginx ]; then
    for script in /docker-entrypoint.d/*.sh; do
        [ -x "$script" ] || continue
        echo "running $script"
        "$script"
    done
fi
exec "$@"
EOF
COPY --chmod=0755 <<"EOF" /docker-entrypoint.d/20-templates.sh
#!/bin/sh
set -e
for template in /etc/nginx/templates/*.template; do
    sed "s/@PORT@/${PORT:?}/g" "$template" > "/etc/nginx/conf.d/$(basename "$template" .template)"
done
EOF
ENTRYPOINT ["/docker-entrypoint.sh"]
EXPOSE 8080
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
ONBUILD COPY --link --from=site /site /usr/share/nginx/html
ONBUILD COPY default.conf.template /etc/nginx/templates/
ONBUILD RUN PORT=8080 /docker-entrypoint.d/20-templates.sh && nginx -t && rm /etc/nginx/conf.d/default.conf
