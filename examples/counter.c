/* A counter that unrelated processes share: each connects to the same server by its address, and
 * the counter is the value of a sync handle. Start `holdfast serve --listen unix:PATH`, then any
 * number of times `counter unix:PATH COUNT`: adds 1 so often, prints the counter, and keeps it
 * alive until its input ends; the value lives as long as anybody has the handle open. */
#include <holdfast/sync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, int error)
{
    fprintf(stderr, "counter: %s: %s\n", what, strerror(-error));
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: counter ADDRESS COUNT\n");
        return 2;
    }
    hf_client *client;
    hf_sync *counter;
    int error = hf_client_connect(argv[1], NULL, &client);
    if (error < 0) {
        return fail(argv[1], error);
    }
    error = hf_sync_open_name(client, "counter", 0, &counter);
    if (error < 0) {
        return fail("open", error);
    }
    unsigned long long value = 0; /* as it stays when nobody has set it yet */
    for (long left = strtol(argv[2], NULL, 10); left >= 0; left--) {
        /* While no other process wants it, this is no message and no system call ... */
        int changed = hf_sync_acquire(counter, left > 0 ? HF_EXCLUSIVE : HF_SHARED, NULL);
        if (changed < 0) {
            return fail("acquire", changed); /* nothing is held */
        }
        hf_sync_get_value(counter, &value, sizeof(value));
        if (left > 0) {
            value++;
            hf_sync_set_value(counter, &value, sizeof(value));
        }
        /* ... and this one message, not waited for: from here on SIGKILL cannot undo it. */
        error = hf_sync_release(counter);
        if (error < 0) {
            return fail("release", error);
        }
    }
    printf("%llu\n", value);
    fflush(stdout);
    while (getchar() != EOF) {
    }
    hf_sync_close(counter);
    hf_client_unref(client);
    return 0;
}
