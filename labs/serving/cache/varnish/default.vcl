vcl 4.1;

# Varnish before the dictionary. What is not here is its built-in configuration.
backend default {
    .host = "words";
    .port = "8080";
}

acl inside {
    "10.0.0.0"/8;
    "172.16.0.0"/12;
    "192.168.0.0"/16;
    "127.0.0.1";
}

sub vcl_recv {
    if (req.method == "PURGE") {
        if (client.ip !~ inside || req.http.Authorization != "Bearer let-me-purge") {
            return (synth(401, "PURGE takes the token"));
        }
        return (purge);
    }
}

# Varnish does not know stale-if-error: an object is kept for a while, and what an origin fails to revalidate is not replaced.
sub vcl_backend_response {
    set beresp.grace = 10m;
    if (beresp.status >= 500 && bereq.is_bgfetch) {
        return (abandon);
    }
}
