#include <holdfast/server.h>
#include <stdio.h>
#include <sys/wait.h>

int main(void)
{
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    hf_server *server;
    hf_client *client;
    hf_sync *counter;
    long value = 0;
    if (hf_server_new(NULL, &server) < 0 || hf_server_start(server) < 0) {
        return 1;
    }
    config.dial = hf_server_dial; /* how a forked child gets a connection of its own */
    config.dial_context = server;
    if (hf_client_from_fd(hf_server_connect(server), &config, &client) < 0 ||
        hf_sync_open_name(client, "counter", 0, &counter) < 0) {
        return 1;
    }
    hf_fork(); /* from here two processes, which share no memory */
    for (int i = 0; i < 100000; i++) {
        hf_sync_acquire(counter, HF_EXCLUSIVE, NULL);
        hf_sync_get_value(counter, &value, sizeof(value));
        value++;
        hf_sync_set_value(counter, &value, sizeof(value));
        hf_sync_release(counter);
    }
    wait(NULL);
    return printf("%ld\n", value) < 0; /* who is done last prints 200000 */
}
