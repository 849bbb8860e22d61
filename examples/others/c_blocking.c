// An echo server with blocking calls in C: one client after another. It takes an IPv4 address.
// Build: gcc -O2 -Wall -o /tmp/c_blocking examples/others/c_blocking.c
// Run: mio-echo check -- /tmp/c_blocking {address}
// Stands on: rung 1 of the ladder. Next: `two-at-once`, because a silent client stops the service.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
    if (!colon) return 2;
    *colon = '\0';
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1))};
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) {
        perror(argv[1]);
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        char buffer[4096];
        ssize_t n;
        while ((n = read(client, buffer, sizeof buffer)) > 0)
            write(client, buffer, n);
        close(client);
    }
}
