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

int ready_init(struct ready *ready, int socket_fd, int wake_fd)
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
        error = ready->follow_fd < 0 ? -errno : watch(ready->follow_fd, wake_fd, EPOLLIN);
    }
    if (error == 0) {
        error = watch(ready->follow_fd, socket_fd, EPOLLIN | (exclusive ? EPOLLEXCLUSIVE : 0));
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

/* Kernels before 5.11 wait in milliseconds; rounded up, so that nobody spins to a deadline. */
static int wait_for_events(int epoll_fd, struct epoll_event events[2],
                           const struct timespec *timeout)
{
    int count = epoll_pwait2(epoll_fd, events, 2, timeout, NULL);
    if (count < 0 && errno == ENOSYS) {
        int timeout_ms = -1;
        if (timeout != NULL) {
            timeout_ms = timeout->tv_sec > 1000000
                             ? 1000000000
                             : (int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000 + 1);
        }
        count = epoll_wait(epoll_fd, events, 2, timeout_ms);
    }
    return count;
}

void ready_drain(int wake_fd)
{
    uint64_t wakes;
    ssize_t got = read(wake_fd, &wakes, sizeof(wakes));
    (void)got; /* nothing there, or somebody else took it: all the same */
}

static void wait_and_drain(int epoll_fd, int wake_fd, const struct timespec *timeout)
{
    struct epoll_event events[2];
    int count = wait_for_events(epoll_fd, events, timeout);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == wake_fd) {
            ready_drain(wake_fd);
        }
    }
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
    wait_and_drain(ready->lead_fd, ready->lead_wake_fd, deadline_ns == 0 ? NULL : &left);
}

void ready_follow(const struct ready *ready, int wake_fd, const struct timespec *timeout)
{
    wait_and_drain(ready->follow_fd, wake_fd, timeout);
}

void ready_wake_leader(const struct ready *ready)
{
    uint64_t one = 1;
    ssize_t written = write(ready->lead_wake_fd, &one, sizeof(one));
    (void)written; /* it fails only when the counter is full, and then it wakes anyway */
}
