"""Functions that a trace goes through on the way to the function that the report is about. Data.

A name that ends in * stands for all that begin so. A function that only passes on what its caller gave it (an
allocator, a copy, a lock, a tree) is a messenger: the defect is where it was called.
"""

from __future__ import annotations

import functools
import re

_REPORTING = """
    *_brk_handler add_dma_entry arch_stack_walk* arm64_enter_* arm64_notify_* arm_notify_die __asan_* asm_*
    asm_exc_* assert_fail* assertfail asswarn* __bad_area* bad_area* bad_mode bad_page* brk_handler
    btrfs_assertfail bug_handler bust_spinlocks call_break_hook cfi_* __cfi_* check_bogus_address
    check_dma_* check_flags* check_free_page* check_heap_object __check_heap_object check_memory_region*
    check_new_page* __check_object_size check_page_span check_panic_on_warn check_poison_mem
    check_preemption_disabled check_region_* check_stack_object console_* create_object* __create_object*
    __dabt_* debug_check_* __debug_check_* debug_dma_* debug_exception_* debug_lockdep_* debug_locks_*
    debug_mutex_* debug_object_* __debug_object_* debug_print_object debug_smp_* debug_timer_* debug_work_*
    dev_printk* die __die* die_* divide_error do_DataAbort do_PrefetchAbort do_ade do_alignment* do_bad
    do_bad_area do_debug_exception do_double_fault do_el0_svc* do_el1_* do_error_trap* do_general_protection
    do_int3 do_invalid_op do_kern_addr_fault __do_kernel_fault do_kernel_fault do_mem_abort do_page_fault*
    do_sea do_serror do_sp_pc_abort do_tag_check_fault do_translation_fault do_trap* do_trap_* do_undefinstr
    do_user_addr_fault __do_user_fault do_warn* double_fault __dump_* dump_backtrace* dump_cpu_task
    dump_page* __dump_page* dump_stack* dump_task dump_trace* el0_* el0_svc* el0t_* el1_* el1h_* el1t_*
    end_report* err_printk error_entry exc_* fail_dump fault_* __fentry__ fixup_bug fixup_exception
    fortify_panic __fortify_panic __fortify_report free_page_bad* free_page_is_bad ftrace_*
    general_protection handle_bug handle_cfi_* handle_exception handle_overflow handle_page_fault
    handle_stack_overflow __hwasan_* invalid_op __irq_svc __irq_usr kasan_* __kasan_* kcsan_* __kcsan_*
    __kernel_map_pages kernel_map_pages* __kernel_poison_pages kernel_poison_pages __kernel_unpoison_pages
    kernel_unpoison_pages kfence_* __kfence_* kmemleak_* kmsan_* __kmsan_* kref_* list_add* __list_add_*
    list_del* __list_del_* __llvm_retpoline_* lockdep_* lockdep_rcu_suspicious mcount* memory_is_* __msan_*
    msan_* nmi_cpu_backtrace* nmi_panic no_context notify_die oops_* __oops_* __pabt_* page_fault
    page_fault_oops panic __panic pgtable_bad __pr_* print_* print_bad_pte printk _printk ref_tracker_*
    refcount_* __refcount_* report_* report_bug report_usercopy ret_from_exception rwlock_bug
    __sanitizer_cov_* save_stack* sched_show_task __schedule_bug __seqprop_* should_fail* __should_fail*
    show_regs* show_stack* show_trace* skb_over_panic skb_panic skb_under_panic spin_bug spin_dump
    __stack_chk_fail stack_trace_* start_report* __this_cpu_preempt_check __this_cpu_preempt_check*
    trace_hardirqs_* trace_irq_* trace_preempt_* __tsan_* ubsan_* __ubsan_* umount_check __und_* unwind_*
    __unwind_* usercopy_abort usercopy_warn vector_* vmalloc_fault vpanic vprintk* walk_stack* __warn*
    warn_* warn_slowpath_* write_comp_data __x86_call_* __x86_indirect_* __x86_return_thunk xen_*
    xfs_assert*
"""
_LOCKS = """
    arch_spin_* assign_lock_key bit_spin_* call_rwsem_* __cant_* check_chain_key check_deadlock check_flags
    check_irq_* check_irq_usage check_lock_* check_noncircular check_prev_add check_prevs_add check_usage*
    check_wait_context do_raw_* down __down down_* __down_* find_held_lock hlock_class local_bh_*
    __local_bh_* __lock_acquire lock_acquire* lock_acquired lock_contended lock_downgrade* lock_is_held*
    __lock_is_held* __lock_release lock_release* lock_set_class lock_sock __lock_sock* lock_sock_nested
    __lockdep_* look_up_lock_class mark_held_locks* mark_lock* mark_usage* match_held_lock mcs_spin_*
    __might_* ___might_* might_fault* might_resched* might_sleep* mmap_read_* mmap_write_* mutex_* __mutex_*
    native_queued_* osq_lock osq_unlock percpu_down_* percpu_rwsem_* percpu_up_* pv_queued_* __pv_queued_*
    queued_* ___ratelimit _raw_* __raw_read_* __raw_spin_* __raw_write_* reacquire_held_locks
    register_lock_class reiserfs_write_lock* rt_mutex_* __rt_mutex_* rt_read_* rt_spin_* rt_write_* rtlock_*
    rwlock_* rwsem_* seqcount_* seqprop_* task_blocks_on_rt_mutex ticket_* up __up up_* __up_* valid_state
    validate_chain ww_mutex_* __ww_mutex_*
"""
_WAITING = """
    autoremove_wake_function bit_wait* cancel_delayed_* __cancel_work* cancel_work_* complete complete_*
    completion_* context_switch default_wake_function do_wait_for_* do_wait_intr* drain_workqueue
    finish_wait flush_work* __flush_work* flush_workqueue* __flush_workqueue* __folio_lock* folio_lock*
    folio_unlock folio_wait_* fsleep io_schedule* __io_schedule* kthread kthread_stop* kthread_worker_fn
    __lock_page* msleep* out_of_line_wait_* __preempt_* ___preempt_* preempt_count_* preempt_schedule*
    prepare_to_wait* process_one_work process_scheduled_works schedule* __schedule* __switch_to*
    synchronize_* __synchronize_* try_to_grab_pending try_to_wake_up unlock_page usb_kill_anchored_urbs
    usb_kill_urb usb_start_wait_urb usleep_* __wait_* wait_for_* wait_on_bit* wait_on_page_* wait_rcu_gp
    __wait_rcu_gp wait_woken wake_up* __wake_up* worker_thread
"""
_LIBRARY = """
    add_timer* add_uevent_var aes_* alloc_consistency_* alloc_debug_* __alloc_frozen_* alloc_frozen_*
    alloc_page_* __alloc_pages* alloc_pages* __alloc_percpu* alloc_percpu* alloc_slab_* alloc_vmap_area
    alloc_zeroed_* allocate_slab* arch_atomic* arch_clear_* __arch_copy_* arch_set_* arch_test_* arm_copy_*
    atomic64_* atomic_* _atomic_dec_* atomic_long_* bin2hex bsearch ____cache_alloc* cache_alloc*
    cache_flusharray cache_free* __cache_free* cache_grow* chacha_* charge_memcg check_bytes* check_object*
    check_slab* cleanup_srcu_struct clear_bit clear_page* clear_user* _copy_* __copy_* copy_*_nofault
    copy_from_iter copy_from_user* copy_page* copy_to_iter copy_to_user* copy_user_* count_memcg_* crc16*
    crc32* __crc32* crc32c* crc_* csum_* d_walk del_timer* device_add device_del device_find_child
    device_unregister devres_release_* dma_pool_* __do_kmalloc* __do_krealloc* do_one_tree dput drop_nlink
    dump_header fast_dput _find_* find_first_* find_next_* folio_alloc* __folio_alloc* __folio_put*
    folio_put* format_decode __fput_sync free_compound_page* free_consistency_* free_contig_range
    free_debug_* free_frozen_* free_large_kmalloc __free_page* free_pages* __free_pages* ___free_pages*
    free_pcp* free_pcppages_* free_percpu* __free_slab* free_the_page free_unref_* generic_shutdown_super
    get_device get_free_page* __get_free_page* __get_free_pages* get_mem_cgroup_* get_page_from_freelist*
    __get_user* get_user* get_vm_area* __get_vm_area* get_zeroed_page* hex2bin hex_dump_* hex_string hlist_*
    __hlist_* ida_* idr_* init_timer_* __init_work instrument_* __instrument_* iov_iter_* iput kasprintf*
    kcalloc* kernfs_* kfree* __kfree* kill_anon_super kill_block_super kill_litter_super klist_* kmalloc*
    __kmalloc* kmalloc_* kmalloc_order* __kmem_cache_* kmem_cache_* kmem_cache_alloc* kmem_cache_debug*
    kmem_cache_destroy kmem_cache_free* kmem_cache_shrink kmem_cache_zalloc* kmemdup* kobject_* __kobject_*
    krealloc* kset_* ksize* __ksize* kstrdup* kvasprintf* kvfree* kvmalloc* __kvmalloc* kvzalloc* kzalloc*
    list_sort* llist_* lock_timer_base lookup_object* mas_* __mem* mem_cgroup_* __mem_cgroup_* memchr*
    memcmp* memcpy* __memcpy* memdup_* memmove* __memmove* mempool_* memscan* memset* __memset* __mod_timer
    mod_timer* mtree_* new_slab* number object_err oom_kill_process out_of_memory page_to_nid
    pagefault_out_of_memory pcpu_* __pi_* plist_* pointer post_alloc_hook prep_new_page print_hex_dump*
    probe_kernel_* __proc_create proc_register pskb_* put_device __put_page* put_page* __put_user* put_user*
    qlink_* qlist_free* radix_tree_* __radix_tree_* raw_atomic* rb_* __rb_* rbt_* __read_once* read_once_*
    read_word_at_a_time ref_tracker_* refcount_* release_nodes release_pages remove_vm_area* rep_movs*
    rep_stos* reset_page_owner rhashtable_* __rhashtable_* rht_* rmqueue* __rmqueue* rollback_registered_*
    scnprintf set_bit __set_page_owner set_page_owner sha1_* sha256_* should_failslab
    shrink_dcache_for_umount shuffle_freelist sized_str* __skb_pull skb_pull* skb_push skb_put __skb_put
    skb_put_data skb_unref skip_spaces slab_* ___slab_* __slab_* snprintf sort sort_r sprintf stack_depot_*
    stack_trace_* strcasecmp* strcat strchr* strcmp* strcpy strcspn string string_* string_nocheck strlcat
    strlcpy* strlen* strncasecmp strncat strnchr* strncmp* strncpy* strncpy_from_user* strndup_* strnlen*
    strnlen_user* strnstr strpbrk strrchr strscpy* strscpy_pad strsep strspn strstr* sysfs_add_file*
    sysfs_create_* sysfs_remove_* sysfs_warn_* __test_* test_and_* test_bit timer_delete* __timer_delete*
    timer_is_static_object timer_shutdown* timerqueue_* try_charge* try_to_del_timer_*
    unregister_netdevice_many* unregister_netdevice_queue* __vfree* vfree* vmalloc* __vmalloc* vmap*
    vscnprintf vsnprintf vsprintf vunmap* __vunmap* vzalloc* widen_string work_is_static_object
    __write_once* xa_* __xa_* xas_*
"""
_ENTRY = """
    acpi_idle_* acpi_safe_halt apic_timer_* arch_cpu_idle* arch_timer_* arch_trigger_* __arm64_sys_*
    asm_sysvec_* atomic_notifier_* __atomic_notifier_* blocking_notifier_* __blocking_notifier_*
    call_on_irq_stack* call_on_stack call_rcu* __call_rcu* call_timer_fn check_cpu_stall check_hung_*
    common_interrupt __const_udelay cpu_do_idle cpu_startup_entry cpuidle_* cpumask_* csd_* default_do_nmi
    default_idle* __delay delay_* do_IRQ do_fast_syscall_* __do_fast_syscall_* do_handle_IPI do_idle
    do_int80* do_interrupt_handler do_irq __do_irq do_nmi __do_softirq do_softirq* do_softirq_own_stack
    do_syscall_* end_repeat_nmi entry_* exc_nmi exit_to_user_mode_* exit_to_usermode_* expire_timers
    __flush_smp_* flush_smp_* flush_tlb_* generic_handle_* generic_smp_call_* gic_handle_* handle_IRQ
    handle_domain_irq __handle_domain_irq handle_edge_* handle_fasteoi_* handle_irq* __handle_irq*
    handle_level_* handle_percpu_* handle_softirqs hrtimer_* __hrtimer_* hrtimer_interrupt __ia32_sys_*
    ia32_sys_call intel_pmu_* invoke_softirq __invoke_syscall invoke_syscall* ipi_* irq_enter* irq_exit*
    __irq_exit* __irq_work* irq_work_* irqentry_* kernel_init kernel_thread_starter ksys_* kvfree_rcu*
    kvm_guest_* kvm_kick_* kvm_wait local_apic_timer_* native_flush_* native_halt native_safe_halt
    native_smp_* __ndelay nmi_* notifier_* on_each_cpu* perf_event_nmi* perf_tp_* perf_trace_* __phys_addr*
    plic_handle_* prepare_exit_* pv_native_safe_halt raw_notifier_* rcu_* __rcu_* read_tsc restore_all*
    restore_regs_* ret_fast_syscall ret_from_fork* ret_from_intr ret_from_kernel_thread ret_from_syscall
    ret_to_user* retint_* riscv_*intc_* __riscv_sys_* riscv_timer_* __run_hrtimer run_ksoftirqd __run_timer*
    run_timer_base run_timer_softirq __run_timers sched_clock* sched_tick scheduler_tick smp_* smp_call_*
    srcu_* __srcu_* srcu_notifier_* syscall_* sysenter_* system_call_* __sysvec_* sysvec_* tick_* trigger_*
    __udelay udelay* update_process_times __virt_addr_valid* virt_to_head_page virt_to_phys __virt_to_phys*
    virt_to_slab watchdog_* work_pending __x64_sys_* x64_sys_call x86_pmu_*
"""


class _Names:
    """A list of names and beginnings of names."""

    def __init__(self, *lists: str) -> None:
        words = " ".join(lists).split()
        self.whole = frozenset(word for word in words if "*" not in word)
        self._begun = [word for word in words if "*" in word]

    @functools.cached_property
    def _beginnings(self) -> re.Pattern[str]:
        return re.compile("|".join(word.replace("*", r"\w*") for word in self._begun))

    def has(self, name: str, module: str) -> bool:
        """Return whether a function is of these; the patterns are of vmlinux, a module's is listed whole."""
        return name in self.whole or (not module and self._beginnings.fullmatch(name) is not None)


_REPORTERS = _Names(_REPORTING)
_ALL = _Names(_REPORTING, _LOCKS, _WAITING, _LIBRARY, _ENTRY)
_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm)\b.*")


def plain_symbol(name: str) -> str:
    """Return a symbol without a compiler's suffix, which differs between builds: ``f.isra.0`` -> ``f``."""
    return _SUFFIX.sub("", name, count=1)


@functools.lru_cache(maxsize=4096)
def is_messenger(name: str, module: str = "") -> bool:
    """Return whether a function only passes on what its caller did."""
    return _ALL.has(plain_symbol(name), module)


def is_reporter(name: str, module: str = "") -> bool:
    """Return whether a function is part of the reporting itself."""
    return _REPORTERS.has(plain_symbol(name), module)
