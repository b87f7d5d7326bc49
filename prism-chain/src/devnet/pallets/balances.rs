//! Balances: free TAO and transfers that keep the sender alive.

use codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::system;
use crate::devnet::dispatch::{DispatchError, Execution, TokenError};
use crate::devnet::primitives::{AccountId32, MultiAddress};
use crate::devnet::state::{Read, State};
use crate::devnet::storage::storage;

/// The least an account can hold, in rao.
pub(in crate::devnet) const EXISTENTIAL_DEPOSIT: u64 = 500;

/// Calls of the Balances pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types)]
pub(in crate::devnet) enum Call {
    #[codec(index = 3)]
    transfer_keep_alive {
        dest: MultiAddress,
        #[codec(compact)]
        value: u64,
    },
}

/// Events of the Balances pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) enum Event {
    #[codec(index = 0)]
    Endowed { account: AccountId32, free_balance: u64 },
    #[codec(index = 2)]
    Transfer { from: AccountId32, to: AccountId32, amount: u64 },
    #[codec(index = 8)]
    Withdraw { who: AccountId32, amount: u64 },
}

storage! { "Balances":
    /// All TAO there is, in rao.
    TOTAL_ISSUANCE "TotalIssuance" [] -> u64 = 0;
}

/// What `who` can spend and stay alive.
pub(in crate::devnet) fn spendable(state: &impl Read, who: &AccountId32) -> u64 {
    system::ACCOUNT.get(state, (who.clone(),)).data.free.saturating_sub(EXISTENTIAL_DEPOSIT)
}

/// Creates `amount` for `who`.
pub(in crate::devnet) fn mint(state: &mut State, who: &AccountId32, amount: u64) {
    system::ACCOUNT.mutate(state, (who.clone(),), |account| {
        account.data.free = account.data.free.saturating_add(amount);
        account.providers = account.providers.max(1);
    });
    TOTAL_ISSUANCE.mutate(state, (), |total| *total = total.saturating_add(amount));
}

/// Destroys `amount` of what `who` has; the caller checked [`spendable`].
pub(in crate::devnet) fn burn(execution: &mut Execution<'_>, who: &AccountId32, amount: u64) {
    system::ACCOUNT.mutate(execution.state, (who.clone(),), |account| {
        account.data.free = account.data.free.saturating_sub(amount);
    });
    TOTAL_ISSUANCE.mutate(execution.state, (), |total| *total = total.saturating_sub(amount));
    execution.deposit(Event::Withdraw { who: who.clone(), amount });
}

impl Call {
    pub(in crate::devnet) fn dispatch(
        &self,
        execution: &mut Execution<'_>,
        sender: &AccountId32,
    ) -> Result<(), DispatchError> {
        let Self::transfer_keep_alive { dest, value } = self;
        let MultiAddress::Id(to) = dest else { return Err(DispatchError::CannotLookup) };
        let free = system::ACCOUNT.get(execution.state, (sender.clone(),)).data.free;
        if free < *value {
            return Err(DispatchError::Token(TokenError::FundsUnavailable));
        }
        if spendable(execution.state, sender) < *value {
            return Err(DispatchError::Token(TokenError::NotExpendable));
        }
        let receiver = system::ACCOUNT.get(execution.state, (to.clone(),));
        let endowed = receiver.data.free.checked_add(*value).ok_or(DispatchError::Token(TokenError::BelowMinimum))?;
        if endowed < EXISTENTIAL_DEPOSIT {
            return Err(DispatchError::Token(TokenError::BelowMinimum));
        }
        system::ACCOUNT.mutate(execution.state, (sender.clone(),), |account| account.data.free -= value);
        system::ACCOUNT.mutate(execution.state, (to.clone(),), |account| {
            account.data.free = account.data.free.saturating_add(*value);
            account.providers = account.providers.max(1);
        });
        if receiver.providers == 0 {
            execution.deposit(system::Event::NewAccount { account: to.clone() });
            execution.deposit(Event::Endowed { account: to.clone(), free_balance: endowed });
        }
        execution.deposit(Event::Transfer { from: sender.clone(), to: to.clone(), amount: *value });
        Ok(())
    }
}
