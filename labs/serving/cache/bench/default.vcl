vcl 4.1;

backend default {
    .host = "origin";
    .port = "8080";
}
