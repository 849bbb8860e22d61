// A textbook echo server on libuv, after "Networking" in the guide of the libuv documentation: each read causes a
// write, and the end of the stream closes the connection. Written anew from its description.
// Build: gcc -O2 -o libuv_echo libuv_echo.c -luv
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

// A write under way, and its bytes.
struct echo {
    uv_write_t request;
    char *bytes;
};

static void on_close(uv_handle_t *client) { free(client); }

static void on_written(uv_write_t *request, int status) {
    struct echo *echo = (struct echo *)request;
    if (status < 0) fprintf(stderr, "write: %s\n", uv_strerror(status));
    free(echo->bytes);
    free(echo);
}

static void on_allocate(uv_handle_t *client, size_t suggested, uv_buf_t *buffer) {
    (void)client;
    buffer->base = malloc(suggested);
    buffer->len = suggested;
}

static void on_read(uv_stream_t *client, ssize_t n, const uv_buf_t *buffer) {
    if (n > 0) {
        struct echo *echo = malloc(sizeof *echo);
        echo->bytes = buffer->base;
        uv_buf_t bytes = uv_buf_init(echo->bytes, (unsigned)n);
        uv_write(&echo->request, client, &bytes, 1, on_written);
        return;
    }
    if (n < 0) {
        if (n != UV_EOF) fprintf(stderr, "read: %s\n", uv_strerror((int)n));
        uv_close((uv_handle_t *)client, on_close);
    }
    free(buffer->base);
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) {
        fprintf(stderr, "connection: %s\n", uv_strerror(status));
        return;
    }
    uv_tcp_t *client = malloc(sizeof *client);
    uv_tcp_init(listener->loop, client);
    if (uv_accept(listener, (uv_stream_t *)client) == 0)
        uv_read_start((uv_stream_t *)client, on_allocate, on_read);
    else
        uv_close((uv_handle_t *)client, on_close);
}

int main(int argc, char **argv) {
    char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
    if (!colon) return 2;
    *colon = '\0';
    struct sockaddr_in address;
    uv_ip4_addr(argv[1], atoi(colon + 1), &address);
    uv_tcp_t listener;
    uv_tcp_init(uv_default_loop(), &listener);
    uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0);
    int error = uv_listen((uv_stream_t *)&listener, 128, on_connection);
    if (error) {
        fprintf(stderr, "listen: %s\n", uv_strerror(error));
        return 1;
    }
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
