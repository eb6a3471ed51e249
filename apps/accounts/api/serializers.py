"""Accounts in JSON."""

from rest_framework import serializers

from apps.accounts.models import ApiToken, User


class RoleSerializer(serializers.Serializer):
    """A role with its function."""

    role = serializers.CharField()
    function = serializers.CharField(required=False, default="", allow_blank=True)


class UserSerializer(serializers.ModelSerializer):
    """A person as others see them."""

    roles = RoleSerializer(source="role_assignments", many=True, read_only=True)

    class Meta:
        model = User
        fields = ["id", "email", "full_name", "is_active", "roles", "created_at"]


class MeSerializer(UserSerializer):
    """Who calls, and what the token in use may do."""

    scopes = serializers.ListField(child=serializers.CharField(), read_only=True)
    functions = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "scopes", "functions"]


class NewUserSerializer(serializers.Serializer):
    """What an administrator gives to make an account."""

    email = serializers.EmailField()
    full_name = serializers.CharField(max_length=200)
    password = serializers.CharField(max_length=200, write_only=True)
    roles = RoleSerializer(many=True, required=False, default=list)


class PasswordSerializer(serializers.Serializer):
    """A new password; `current` is needed for one's own."""

    password = serializers.CharField(max_length=200, write_only=True, trim_whitespace=False)
    current = serializers.CharField(max_length=200, write_only=True, trim_whitespace=False, required=False, default="", allow_blank=True)
    code = serializers.CharField(max_length=40, write_only=True, required=False, default="", allow_blank=True)


class BegunSerializer(serializers.Serializer):
    """A new generator: shown in this answer only."""

    seed = serializers.CharField(read_only=True, help_text="Base32, for typing it in.")
    otpauth = serializers.CharField(read_only=True, help_text="For a QR code.")


class ConfirmCodeSerializer(serializers.Serializer):
    """Proof that the generator works."""

    password = serializers.CharField(max_length=200, write_only=True, trim_whitespace=False)
    code = serializers.CharField(max_length=40, write_only=True)


class RecoveryCodesSerializer(serializers.Serializer):
    """Codes that work once each when the generator is lost: shown in this answer only."""

    recovery_codes = serializers.ListField(child=serializers.CharField(), read_only=True)


class RemoveCodeSerializer(serializers.Serializer):
    """One's own: password and code. Another's, as an administrator: a reason."""

    password = serializers.CharField(max_length=200, write_only=True, trim_whitespace=False, required=False, default="", allow_blank=True)
    code = serializers.CharField(max_length=40, write_only=True, required=False, default="", allow_blank=True)
    reason = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class TokenSerializer(serializers.ModelSerializer):
    """A token without its secret."""

    owner = serializers.EmailField(source="user.email", read_only=True)

    class Meta:
        model = ApiToken
        fields = ["id", "name", "prefix", "owner", "scopes", "expires_at", "last_used_at", "revoked_at", "created_at"]


class NewTokenSerializer(serializers.Serializer):
    """What a new token may do, and until when."""

    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(required=False)


class IssuedTokenSerializer(TokenSerializer):
    """A new token with its secret, shown this once."""

    token = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
