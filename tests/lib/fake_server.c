#include "lib/fake_server.h"

#include "lib/sync_stage.h"
#include "lib/test.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct wire_message fake_welcome = {
    .kind = WIRE_WELCOME, .wire_version = WIRE_VERSION, .client = 9};

void fake_init(struct fake *fake)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    *fake = (struct fake){.fd = pair[0], .client_fd = pair[1]};
    buffer_init(&fake->in, (size_t)1 << 20);
}

void fake_hang_up(struct fake *fake)
{
    close(fake->fd);
    fake->fd = -1;
}

void fake_deinit(struct fake *fake)
{
    hf_client_unref(fake->client);
    if (fake->client_fd >= 0) {
        close(fake->client_fd);
    }
    if (fake->fd >= 0) {
        close(fake->fd);
    }
    buffer_deinit(&fake->in);
}

void fake_write(struct fake *fake, const void *bytes, size_t size)
{
    assert_int_equal(send(fake->fd, bytes, size, MSG_NOSIGNAL), size);
}

void fake_send(struct fake *fake, const struct wire_message *message)
{
    uint8_t frame[FAKE_FRAME_ROOM];
    fake_write(fake, frame, wire_encode(message, frame));
}

struct wire_message fake_expect(struct fake *fake, enum wire_kind kind)
{
    struct wire_message message;
    buffer_consume(&fake->in, fake->used);
    fake->used = 0;
    enum wire_verdict verdict;
    while ((verdict = wire_decode(buffer_data(&fake->in),
                                  fake->in.length,
                                  WIRE_FRAME_MAX,
                                  TO_SERVER,
                                  &message,
                                  &fake->used)) == WIRE_INCOMPLETE) {
        struct pollfd readable = {.fd = fake->fd, .events = POLLIN};
        assert_int_equal(poll(&readable, 1, RAW_PATIENCE_MS), 1);
        uint8_t *room = buffer_reserve(&fake->in, 65536);
        const ssize_t size = recv(fake->fd, room, 65536, 0);
        assert_true(size > 0);
        buffer_commit(&fake->in, (size_t)size);
    }
    assert_int_equal(verdict, WIRE_OK);
    assert_string_equal(wire_kind_name(message.kind), wire_kind_name(kind));
    return message;
}

void fake_join(struct fake *fake)
{
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    config.quantum_ns = 0;
    fake_init(fake);
    fake_send(fake, &fake_welcome);
    assert_int_equal(hf_client_from_fd(fake->client_fd, &config, &fake->client), 0);
    fake->client_fd = -1;
    assert_int_equal(hf_client_number(fake->client), 9);
    assert_int_equal(fake_expect(fake, WIRE_HELLO).magic, WIRE_MAGIC);
}

struct wire_message fake_answer(const struct wire_message *asked, uint64_t grant)
{
    return (struct wire_message){.kind = WIRE_GRANT,
                                 .id = asked->id,
                                 .seq = asked->seq,
                                 .grant = grant,
                                 .mode = asked->mode,
                                 .version = 1};
}

void fake_grant(struct fake *fake, hf_sync *handle, hf_mode mode, uint64_t grant)
{
    struct acquirer thread = {.handle = handle, .mode = mode};
    acquirer_start(&thread);
    const struct wire_message asked = fake_expect(fake, WIRE_ACQUIRE);
    const struct wire_message answer = fake_answer(&asked, grant);
    fake_send(fake, &answer);
    assert_true(acquirer_join(&thread) >= 0);
}
