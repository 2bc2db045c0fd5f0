//! Response codes (TPM 2.0 part 2, 6.6) as errors with a remedy.

use crate::error::TpmError;
use tpm2_protocol::data::{TpmCc, TpmRc, TpmRcBase, TpmRcIndex};

/// What a response code asks of the sender.
pub(crate) enum Verdict {
    /// done
    Done,
    /// send the same bytes again
    Again,
    /// it will not be done
    Failed(TpmError),
}

/// A command's name for messages: without the prefix of its constant.
pub(crate) fn name(command: TpmCc) -> &'static str {
    match command {
        TpmCc::Startup => "Startup",
        TpmCc::Shutdown => "Shutdown",
        TpmCc::SelfTest => "SelfTest",
        TpmCc::GetTestResult => "GetTestResult",
        TpmCc::GetRandom => "GetRandom",
        TpmCc::GetCapability => "GetCapability",
        TpmCc::CreatePrimary => "CreatePrimary",
        TpmCc::Create => "Create",
        TpmCc::Load => "Load",
        TpmCc::LoadExternal => "LoadExternal",
        TpmCc::EvictControl => "EvictControl",
        TpmCc::ReadPublic => "ReadPublic",
        TpmCc::FlushContext => "FlushContext",
        TpmCc::Sign => "Sign",
        TpmCc::EcdhZGen => "ECDH_ZGen",
        TpmCc::Quote => "Quote",
        TpmCc::Certify => "Certify",
        TpmCc::MakeCredential => "MakeCredential",
        TpmCc::ActivateCredential => "ActivateCredential",
        TpmCc::Unseal => "Unseal",
        TpmCc::StartAuthSession => "StartAuthSession",
        TpmCc::PolicyPcr => "PolicyPCR",
        TpmCc::PolicyNv => "PolicyNV",
        TpmCc::PolicySecret => "PolicySecret",
        TpmCc::PolicyCommandCode => "PolicyCommandCode",
        TpmCc::NvDefineSpace => "NV_DefineSpace",
        TpmCc::NvUndefineSpace => "NV_UndefineSpace",
        TpmCc::NvIncrement => "NV_Increment",
        TpmCc::NvRead => "NV_Read",
        TpmCc::NvReadPublic => "NV_ReadPublic",
        TpmCc::PcrRead => "PCR_Read",
        TpmCc::PcrExtend => "PCR_Extend",
        TpmCc::Clear => "Clear",
        TpmCc::HierarchyChangeAuth => "HierarchyChangeAuth",
        TpmCc::SetPrimaryPolicy => "SetPrimaryPolicy",
        TpmCc::DictionaryAttackLockReset => "DictionaryAttackLockReset",
        _ => "a TPM command",
    }
}

/// Reads a response code.
pub(crate) fn judge(command: TpmCc, code: u32) -> Verdict {
    if code == 0 {
        return Verdict::Done;
    }
    let command_name = name(command);
    let Ok(rc) = TpmRc::try_from(code) else {
        let text = "a code that no TPM 2.0 of our time gives".to_owned();
        return Verdict::Failed(TpmError::Code { command: command_name, code, text });
    };
    let base = rc.base();
    if matches!(base, TpmRcBase::Retry | TpmRcBase::Yielded | TpmRcBase::Testing) {
        return Verdict::Again;
    }
    Verdict::Failed(failure(command_name, code, rc))
}

fn failure(command: &'static str, code: u32, rc: TpmRc) -> TpmError {
    use TpmRcBase as B;
    match rc.base() {
        B::Failure => TpmError::FailureMode { detail: format!("it refused {command}") },
        B::Lockout => TpmError::Lockout { wait: "wait until the lockout has passed".to_owned() },
        B::NvSpace => TpmError::NvFull,
        B::AuthFail | B::BadAuth => TpmError::WrongAuth { command },
        B::PolicyFail | B::PcrChanged => TpmError::Policy { command },
        // PolicyNV says so when the comparison fails
        B::Policy if command == "PolicyNV" => TpmError::Policy { command },
        B::Hierarchy => TpmError::Disabled { command },
        B::Canceled => TpmError::Cancelled { command },
        B::Initialize | B::Handle => TpmError::Stale { command },
        // a handle or session of a right kind that is not there
        B::Value if names_handle(rc) => TpmError::Stale { command },
        B::ReferenceH0 | B::ReferenceH1 | B::ReferenceH2 => TpmError::Stale { command },
        B::ReferenceS0 | B::ReferenceS1 | B::ReferenceS2 => TpmError::Stale { command },
        _ => TpmError::Code { command, code, text: rc.to_string() },
    }
}

fn names_handle(rc: TpmRc) -> bool {
    matches!(rc, TpmRc::Fmt1(f) if matches!(f.index, Some(TpmRcIndex::Handle(_) | TpmRcIndex::Session(_))))
}

/// Whether the chip has no room for another object or session.
pub(crate) fn is_memory(e: &TpmError) -> bool {
    // OBJECT_MEMORY, SESSION_MEMORY, MEMORY, SESSION_HANDLES, OBJECT_HANDLES
    matches!(e, TpmError::Code { code: 0x902..=0x906, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: u32) -> TpmError {
        match judge(TpmCc::Sign, code) {
            Verdict::Failed(e) => e,
            _ => panic!("{code:#x} is a failure"),
        }
    }

    #[test]
    fn codes_have_names_and_remedies() {
        for (code, says) in [
            (0x101, "power-cycle"),
            (0x921, "locked"),
            (0x14b, "NV memory is full"),
            (0x98e, "wrong authorization"),
            (0x9a2, "wrong authorization"),
            (0x99d, "PCRs differ"),
            (0x100, "reset"),
            (0x910, "reset"),
            (0x918, "reset"),
            (0x18b, "reset"),
            (0x184, "reset"),
            (0x984, "reset"),
            (0x1c4, "TPM_RC_VALUE"),
            (0x185, "hierarchy"),
            (0x909, "cancelled"),
            (0x1d5, "TPM_RC_SIZE"),
            (0xffff_0000, "0xffff0000"),
        ] {
            let e = failed(code);
            assert!(e.to_string().contains(says), "{code:#x}: {e}");
        }
        assert!(is_memory(&failed(0x902)) && !is_memory(&failed(0x1d5)));
    }

    #[test]
    fn only_three_codes_are_sent_again() {
        for code in 0..0x1000u32 {
            let again = matches!(judge(TpmCc::Sign, code), Verdict::Again);
            assert_eq!(again, [0x922, 0x908, 0x90a].contains(&code), "{code:#x}");
        }
    }
}
