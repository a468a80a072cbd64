/*
 * Waking one thread when the socket can be read: see struct ready.
 */
#include "base/clock.h"
#include "client/client.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int watch(int epoll_fd, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* The leader's half. Where the system has no EPOLLEXCLUSIVE there is no leader. */
static int lead_init(struct ready *ready, int socket_fd)
{
    ready->lead_fd = epoll_create1(EPOLL_CLOEXEC);
    ready->lead_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ready->lead_fd < 0 || ready->lead_wake_fd < 0) {
        return -errno;
    }
    int error = watch(ready->lead_fd, ready->lead_wake_fd, EPOLLIN);
    if (error == 0) {
        error = watch(ready->lead_fd, socket_fd, EPOLLIN | EPOLLEXCLUSIVE);
    }
    return error;
}

int ready_init(struct ready *ready, int socket_fd)
{
    *ready = (struct ready){-1, -1, -1};
    bool exclusive = true;
    int error = lead_init(ready, socket_fd);
    if (error == -EINVAL) {
        ready_deinit(ready);
        exclusive = false;
        error = 0;
    }
    if (error == 0) {
        ready->follow_fd = epoll_create1(EPOLL_CLOEXEC);
        error =
            ready->follow_fd < 0
                ? -errno
                : watch(ready->follow_fd, socket_fd, EPOLLIN | (exclusive ? EPOLLEXCLUSIVE : 0));
    }
    if (error != 0) {
        ready_deinit(ready);
    }
    return error;
}

static void close_if_open(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void ready_deinit(struct ready *ready)
{
    close_if_open(&ready->lead_fd);
    close_if_open(&ready->lead_wake_fd);
    close_if_open(&ready->follow_fd);
}

void ready_lead(const struct ready *ready, uint64_t deadline_ns)
{
    struct timespec left = {0, 0};
    if (deadline_ns != 0) {
        uint64_t now_ns = clock_now_ns();
        uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        left.tv_sec = (time_t)(left_ns / UINT64_C(1000000000));
        left.tv_nsec = (long)(left_ns % UINT64_C(1000000000));
    }
    struct epoll_event events[2];
    int count = epoll_pwait2(ready->lead_fd, events, 2, deadline_ns == 0 ? NULL : &left, NULL);
    if (count < 0 && errno == ENOSYS) {
        /* A kernel before 5.11: milliseconds must do, rounded up. */
        int left_ms =
            deadline_ns == 0 ? -1 : (int)(left.tv_sec * 1000 + left.tv_nsec / 1000000 + 1);
        count = epoll_wait(ready->lead_fd, events, 2, left_ms);
    }
    for (int i = 0; i < count; i++) {
        uint64_t wakes;
        if (events[i].data.fd == ready->lead_wake_fd &&
            read(ready->lead_wake_fd, &wakes, sizeof(wakes)) < 0) {
            continue; /* somebody took it: all the same */
        }
    }
}

void ready_wake_leader(const struct ready *ready)
{
    uint64_t one = 1;
    ssize_t written = write(ready->lead_wake_fd, &one, sizeof(one));
    (void)written; /* it fails only when the counter is full, and then it wakes anyway */
}
