/* A plugin for qemu's user emulation that counts the instructions executed and prints them at the end. At each system
 * call getppid it prints them too, so that a program can mark what is to be counted.
 * The interface is declared by hand: distributions ship qemu without its header.
 *
 *   gcc -shared -fPIC count_instructions.c -o count.so && qemu-aarch64 -cpu cortex-a72 -plugin ./count.so PROGRAM
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
typedef void (*syscall_callback)(uint64_t id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t, uint64_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t, void (*)(uint64_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_syscall_cb(uint64_t, syscall_callback);
extern void qemu_plugin_register_atexit_cb(uint64_t, void (*)(uint64_t, void *), void *);

EXPORT int qemu_plugin_version = 1;

static uint64_t instructions;

static void on_block(uint64_t id, struct qemu_plugin_tb *block) {
  enum { kAdd = 0 };
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, kAdd, &instructions, qemu_plugin_tb_n_insns(block));
}

static void print(const char *name) { fprintf(stderr, "%s %llu\n", name, (unsigned long long)instructions); }

static void on_call(uint64_t id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                    uint64_t f, uint64_t g, uint64_t h) {
  enum { kGetppid = 173 }; /* on aarch64 */
  (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number == kGetppid) print("mark");
}

static void on_exit(uint64_t id, void *data) {
  (void)id;
  (void)data;
  print("instructions");
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv) {
  (void)info;
  (void)argc;
  (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
  qemu_plugin_register_vcpu_syscall_cb(id, on_call);
  qemu_plugin_register_atexit_cb(id, on_exit, NULL);
  return 0;
}
